"""Stores: the contract and the backends behind it. Only the coordinator imports them."""

from pathlib import Path
from typing import Final

from hundredfold.hooks import hookimpl
from hundredfold.stores.contract import Store

_REDIS: Final = ("redis", "rediss", "unix", "redis+unix")


@hookimpl
def hundredfold_store(url: str) -> Store | None:
    """Open the built-in backends: `sqlite:PATH`, `memory:`, and the URLs of Redis and Valkey."""
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite":
        from hundredfold.stores.sqlite import SqliteStore

        return SqliteStore(Path(rest))
    if scheme == "memory":
        from hundredfold.stores.memory import MemoryStore

        return MemoryStore()
    if scheme in _REDIS:
        from hundredfold.stores.redis import open_redis

        return open_redis(url)
    return None


@hookimpl
def hundredfold_store_shared(url: str) -> bool | None:
    """Say which of the built-in backends are servers."""
    scheme = url.partition(":")[0]
    return scheme in _REDIS if scheme in ("sqlite", "memory", *_REDIS) else None
