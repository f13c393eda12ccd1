"""The server and the database that were found: whether they will do, and what they can."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.sql import SQL, Identifier
from psycopg.types import TypeInfo

from hundredfold.errors import StoreUnavailable
from hundredfold.stores.postgresql import schema
from hundredfold.stores.postgresql.connection import Connection
from hundredfold.stores.postgresql.vector import Vector

_OLDEST: Final = 14
_OLDEST_PGVECTOR: Final = (0, 8)
"""The first one whose searches go on until they have found enough."""

_LOCK: Final = 0x68756E64726564
"""An advisory lock: who makes the schema is alone."""

_LOOK: Final = SQL("""
SELECT current_setting('server_version_num')::integer / 10000, pg_is_in_recovery(),
    current_setting('transaction_read_only') = 'on',
    current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on'
""")
_PGVECTOR: Final = SQL("""
SELECT e.extversion, n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'vector'
""")
_NO_PGVECTOR: Final = (
    psycopg.errors.FeatureNotSupported,
    psycopg.errors.UndefinedFile,
    psycopg.errors.InsufficientPrivilege,
)


@dataclass(frozen=True, slots=True)
class Server:
    """What a server is like.

    Attributes:
        durable: what it has committed outlives the loss of power.
        writable: it is no standby, and takes writes.

    """

    release: int
    writable: bool
    durable: bool


def look(connection: Connection) -> Server:
    """Return what is at the other end."""
    ((release, standby, read_only, durable),) = connection.execute(_LOOK).fetchall()
    return Server(release, not (standby or read_only), durable)


def make_ready(connection: Connection, url: str) -> tuple[Server, bool]:
    """Make the schema if it is missing; return what the server is like, and whether it can search vectors.

    Raises:
        StoreUnavailable: the server or the database will not do.
        psycopg.Error: something else went wrong.

    """
    server = look(connection)
    if server.release < _OLDEST:
        problem = f"its server is PostgreSQL {server.release}; upgrade it to {_OLDEST} or newer"
        raise StoreUnavailable(url=url, problem=problem)
    if not server.writable:
        problem = (
            "its server is a standby, or takes no writes; name the primary, or add target_session_attrs=read-write"
        )
        raise StoreUnavailable(url=url, problem=problem)
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        _make_tables(connection, url)
        vectors = _make_vectors(connection)
    return server, vectors


def greet_pgvector(connection: Connection) -> bool:
    """Teach a connection what vectors are; tell whether the database has a pgvector that will do."""
    rows = connection.execute(_PGVECTOR).fetchall()
    if not rows or tuple(int(part) for part in rows[0][0].split(".")[:2]) < _OLDEST_PGVECTOR:
        return False
    # The operators of pgvector have no prefix, wherever it was put.
    connection.execute(SQL("SET search_path = pg_catalog, {}, hundredfold").format(Identifier(rows[0][1])))
    found = TypeInfo.fetch(connection, "vector")
    if found is None:
        return False
    found.register(connection)
    connection.adapters.register_dumper(Vector, type("VectorDumper", (_VectorDumper,), {"oid": found.oid}))
    return True


def _make_tables(connection: Connection, url: str) -> None:
    (known,) = connection.execute("SELECT to_regclass('hundredfold.layout') IS NOT NULL").fetchall()
    if known[0]:
        ((layout,),) = connection.execute("SELECT version FROM hundredfold.layout").fetchall()
        if layout != schema.LAYOUT:
            problem = f"it was made by another version of hundredfold, with layout {layout} instead of {schema.LAYOUT}"
            raise StoreUnavailable(url=url, problem=f"{problem}; use that version, or another database")
    else:
        connection.execute(schema.TABLES)
        connection.execute("INSERT INTO hundredfold.layout VALUES (%s)", (schema.LAYOUT,))
    connection.execute("DELETE FROM hundredfold.opener WHERE used < now() - interval '30 days'")
    _make_functions(connection, schema.FUNCTIONS)


def _make_vectors(connection: Connection) -> bool:
    try:
        if not connection.execute(_PGVECTOR).fetchall():
            with connection.transaction():
                connection.execute("CREATE EXTENSION vector")
    except _NO_PGVECTOR:
        return False
    if not greet_pgvector(connection):
        return False
    # `CREATE INDEX IF NOT EXISTS` would wait for whoever builds a graph, were the index there or not.
    if connection.execute("SELECT to_regclass('hundredfold.embedding_metadata') IS NULL").fetchall() == [(True,)]:
        connection.execute(schema.VECTOR_TABLES)
    _make_functions(connection, schema.VECTOR_FUNCTIONS)
    return True


def _make_functions(connection: Connection, functions: Mapping[str, str]) -> None:
    there = "SELECT count(*) FROM pg_proc WHERE proname = %s AND pronamespace = 'hundredfold'::regnamespace"
    for name, source in functions.items():
        if connection.execute(there, (name,)).fetchall() == [(0,)]:
            connection.execute(source.encode())


class _VectorDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Vector) -> bytes:
        return obj.binary
