"""A store in a PostgreSQL database, which coordinators on several machines can share; see docs/store.md."""

from hundredfold.errors import StoreUnavailable
from hundredfold.stores.contract import Store


def open_store(url: str) -> Store:
    """Open the store at a `postgresql:` URL.

    Raises:
        StoreUnavailable: it cannot be used; the error says what to do.
        StoreUnreachable: its server does not answer.

    """
    try:
        import psycopg  # noqa: F401  # whether it is there, and finds its libpq
    except ImportError as error:
        problem = f"{error}; pip install 'hundredfold[postgresql]'"
        raise StoreUnavailable(url="postgresql:", problem=problem) from error
    from hundredfold.stores.postgresql.store import PostgresqlStore

    return PostgresqlStore(url)
