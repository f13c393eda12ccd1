"""The Redis and Valkey backend: all state in one hash of a server, ordered by one sorted set."""

from hundredfold.errors import StoreUnavailable
from hundredfold.stores.contract import Store
from hundredfold.stores.redis.address import parse_address


def open_redis(url: str) -> Store:
    """Open the store at `url`; see `hundredfold.stores.redis.address` for what that may say.

    Raises:
        StoreUnavailable: the URL is wrong, redis-py is missing, or the server is not fit for a store.
        StoreUnreachable: the server does not answer.

    """
    address = parse_address(url)
    try:
        from hundredfold.stores.redis.store import RedisStore
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "redis":
            raise
        cure = "redis-py is missing; `pip install 'hundredfold[redis]'` brings it"
        raise StoreUnavailable(address.url, cure) from error
    return RedisStore(address)
