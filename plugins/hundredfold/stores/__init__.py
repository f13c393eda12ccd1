"""Stores: the contract and the backends behind it. Only the coordinator imports them."""

from pathlib import Path

from hundredfold.hooks import hookimpl
from hundredfold.stores.contract import Store


@hookimpl
def hundredfold_store(url: str) -> Store | None:
    """Open the built-in backends: `sqlite:PATH`, `memory:`, and the URLs of PostgreSQL, Redis and Valkey."""
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite":
        from hundredfold.stores.sqlite import SqliteStore

        return SqliteStore(Path(rest))
    if scheme in ("postgresql", "postgres"):
        from hundredfold.stores.postgresql import open_store

        return open_store(url)
    if scheme == "memory":
        from hundredfold.stores.memory import MemoryStore

        return MemoryStore()
    if scheme in ("redis", "rediss", "unix", "redis+unix"):
        from hundredfold.stores.redis import open_redis

        return open_redis(url)
    return None
