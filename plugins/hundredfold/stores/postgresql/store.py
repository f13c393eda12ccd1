"""The store in a PostgreSQL database: a commit is one call of a function there, and one transaction.

All commits of a database come one after the other, by the lock on the row of its clock. Every store object is an opener
with a row of its own, where its last commit's number and answer are: a commit that is repeated because its answer was
lost is recognised, and a lost one that arrives late is refused.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

from psycopg.sql import SQL, Identifier

from hundredfold.errors import Fenced, HundredfoldError, StoreUnavailable, StoreUnreachable
from hundredfold.stores.contract import (
    Batch,
    Capabilities,
    Committed,
    Conflict,
    Entry,
    Guard,
    Record,
    end_of_prefix,
)
from hundredfold.stores.postgresql.address import Address
from hundredfold.stores.postgresql.connection import Connection, Line, Row, Statement
from hundredfold.stores.postgresql.failure import RETRY_SECONDS
from hundredfold.stores.postgresql.index import Index
from hundredfold.stores.postgresql.parcel import Parcel, integers, pack
from hundredfold.stores.postgresql.schema import COMMIT, COMMIT_AND_EMBED
from hundredfold.stores.postgresql.search import Search
from hundredfold.stores.postgresql.server import greet_pgvector, look, make_ready
from hundredfold.stores.postgresql.vector import Findings, find_all
from hundredfold.stores.search import Extract, Hit

_GET: Final = SQL("SELECT key, value, version FROM hundredfold.record WHERE key = ANY (%b::bytea[])")
_SCAN: Final = (
    "SELECT key, value, version FROM hundredfold.record WHERE key >= %b AND key > %b {end} ORDER BY key LIMIT %b"
)
_SCAN_BACK: Final = (
    "SELECT key, value, version FROM hundredfold.record WHERE key >= %b {end} ORDER BY key DESC LIMIT %b"
)
_WRITES: Final = (
    "%b::text, %b::bigint, %b::bytea, %b::bigint, %b::integer, %s::integer[], %s::integer[],"
    " %s::integer[], %b::bytea[], %b::bytea[], %s::bigint[], %s::integer[]"
)
_FINDINGS: Final = "%b::bytea[], %s::integer[], %b::bytea[], %b::bytea[], %b::text[], %b::vector[], %b::text[]"
_CALL: Final = "SELECT * FROM hundredfold.{}({})"
_COMMIT: Final = SQL(_CALL).format(Identifier(COMMIT), SQL(_WRITES))
_COMMIT_AND_EMBED: Final = SQL(_CALL).format(Identifier(COMMIT_AND_EMBED), SQL(f"{_WRITES}, {_FINDINGS}"))
_CLOCK: Final = SQL("SELECT version FROM hundredfold.clock")
_FORGET: Final = SQL("DELETE FROM hundredfold.opener WHERE id = %b RETURNING id")


class PostgresqlStore:
    """The database at a `postgresql:` URL; its tables are made if they are missing.

    Raises:
        StoreUnavailable: it cannot be used; the error says what to do.
        StoreUnreachable: its server does not answer.

    """

    def __init__(self, url: str) -> None:
        self._address = Address(url)
        self.url = self._address.url
        self._opener = uuid4().hex
        self._number = 0
        self._unanswered: Parcel | None = None
        self._version = 0
        self._opened = False
        self._index: Index | None = None
        self._line = Line(self._address, self._greet)
        try:
            self._line.use(lambda _connection: None)
        except BaseException:
            self._line.close()
            raise

    def get(self, keys: Sequence[bytes]) -> list[Record | None]:
        """See `Store.get`."""
        if not keys:
            return []
        rows = self._line.ask(_GET, (list(keys),))
        found = {key: Record(value, version) for key, value, version in rows}
        return [found.get(key) for key in keys]

    def scan(self, prefix: bytes, *, after: bytes = b"", limit: int = 1000, reverse: bool = False) -> list[Entry]:
        """See `Store.scan`."""
        ends = [bound for bound in (end_of_prefix(prefix), after if reverse else b"") if bound]
        statement = SQL(_SCAN_BACK if reverse else _SCAN).format(end=SQL("AND key < %b " * len(ends)))
        starts = (prefix,) if reverse else (prefix, after)
        # No key is empty, so `key > ''` is no condition.
        rows = self._line.ask(statement, (*starts, *ends, limit))
        return [Entry(key, Record(value, version)) for key, value, version in rows]

    def commit(self, batches: Iterable[Batch], guard: Guard | None = None) -> list[Committed | Conflict]:
        """See `Store.commit`."""
        parcel = pack(batches, guard)
        findings = find_all(parcel, self._index.prefix, self._index.extract) if self._index else Findings()
        if parcel != self._unanswered:
            self._number += 1
        self._unanswered = parcel
        try:
            rows = self._send(parcel, Index.written_with(findings))
        except StoreUnreachable:
            raise
        except HundredfoldError:
            self._unanswered = None
            raise
        self._unanswered = None
        results = self._results(rows)
        if self._index:
            self._index.note(findings, [one.version if isinstance(one, Committed) else None for one in results])
        return results

    def index(self, prefix: bytes, extract: Extract) -> None:
        """See `Searching.index`."""
        if not self.capabilities.vectors:
            problem = "it has no pgvector 0.8 or newer; install it on the server, then CREATE EXTENSION vector"
            raise StoreUnavailable(url=self.url, problem=problem)
        if self._index:
            self._index.close()
        self._index = Index(self._address, self._line, prefix, extract)
        self._index.fill()

    def search(self, collection: str, vector: bytes, limit: int, where: Mapping[str, str] | None = None) -> list[Hit]:
        """See `Searching.search`."""
        if self._index:
            self._index.settle()
        return self._search.nearest(collection, vector, limit, where or {})

    def close(self) -> None:
        """See `Store.close`."""
        if self._index:
            self._index.close()
        self._search.close()
        if self._line.is_up and self._unanswered is None:
            with suppress(HundredfoldError):
                self._line.ask(_FORGET, (self._opener,))
        self._line.close()

    def _greet(self, connection: Connection) -> None:
        """Have a new connection looked at: whether it leads to where the store was before."""
        if not self._opened:
            server, vectors = make_ready(connection, self.url)
            self.capabilities = Capabilities(durable=server.durable, shared=True, vectors=vectors)
            self._search = Search(self._address)
            self._opened = True
        elif not look(connection).writable:
            problem = "its server takes no writes at present"
            raise StoreUnreachable(url=self.url, problem=problem, retry_seconds=RETRY_SECONDS)
        else:
            greet_pgvector(connection)
        ((version,),) = connection.execute(_CLOCK).fetchall()
        if version < self._version:
            problem = f"it has lost its last {self._version - version} change(s), which were committed once"
            raise StoreUnavailable(url=self.url, problem=f"{problem}; look whether this is the server it was before")
        self._version = version

    def _send(self, parcel: Parcel, findings: Findings) -> list[Row]:
        guard = parcel.guard
        parameters: list[Any] = [
            *(self._opener, self._number, guard and guard.key, guard.version if guard else 0, parcel.count),
            *(integers(parcel.last_batches), integers(parcel.last_writes)),
            *(integers(parcel.batches), parcel.keys, parcel.values),
            *(integers(parcel.expected), integers(parcel.actions)),
        ]
        statement: Statement = _COMMIT
        if findings:
            statement = _COMMIT_AND_EMBED
            parameters += [findings.gone, integers(findings.places), *findings.parameters()]
        return self._line.ask(statement, parameters)

    def _results(self, rows: list[Row]) -> list[Committed | Conflict]:
        ((fenced, _repeated, versions, conflicts),) = rows
        if fenced:
            raise Fenced
        self._version = max([self._version, *(version for version in versions if version)])
        return [
            Conflict(key) if version is None else Committed(version)
            for version, key in zip(versions, conflicts, strict=True)
        ]
