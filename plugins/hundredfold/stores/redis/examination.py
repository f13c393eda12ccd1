"""What a server has to be for a store, and whether it is durable; asked on every new connection."""

from collections.abc import Mapping
from typing import Final

from redis.exceptions import ResponseError

from hundredfold.errors import StoreUnavailable, StoreUnreachable
from hundredfold.stores.redis.address import Address
from hundredfold.stores.redis.link import Call
from hundredfold.stores.redis.problems import RETRY_SECONDS

_OLDEST: Final = 7
"""Redis 7.0 brought scripts with flags: a commit that finds no room is refused before it starts."""

_DURABLE: Final = {"appendfsync": "always", "no-appendfsync-on-rewrite": "no"}


def examine(call: Call, address: Address) -> bool:
    """Return whether what the server acknowledges survives the loss of power.

    Raises:
        StoreUnavailable: it is not fit for a store; the error says what to change.
        StoreUnreachable: it is not the primary, which a failover may change.
        RedisError: what the server says.

    """
    server = _information(call)
    version = server.get("redis_version", "")
    if int(version.partition(".")[0] or 0) < _OLDEST:
        problem = f"version {version or '?'} is too old; Redis {_OLDEST}.0 or newer, or any Valkey, is needed"
        raise StoreUnavailable(address.url, problem)
    if server.get("role") != "master":
        raise StoreUnreachable(address.url, "it is a replica and takes no writes; name its primary", RETRY_SECONDS)
    policy = server.get("maxmemory_policy", "unknown")
    if policy != "noeviction":
        problem = (
            f"its maxmemory-policy is {policy}, so that it may drop records; `CONFIG SET maxmemory-policy noeviction`"
        )
        raise StoreUnavailable(address.url, problem)
    return _is_durable(call, address, server)


def _information(call: Call) -> Mapping[str, str]:
    lines = bytes(call("INFO")).decode(errors="replace").splitlines()
    return {name: value for name, _, value in (line.partition(":") for line in lines)}


def _is_durable(call: Call, address: Address, server: Mapping[str, str]) -> bool:
    try:
        told = [bytes(item).decode(errors="replace") for item in call("CONFIG", "GET", *_DURABLE)]
    except ResponseError:  # services that run servers for others forbid it
        return address.vouched
    settings = dict(zip(told[::2], told[1::2], strict=True))
    return server.get("aof_enabled") == "1" and settings == _DURABLE
