"""The default store: one SQLite file, owned by one connection of one thread.

WAL with `synchronous=FULL` makes every commit durable before it returns; `locking_mode=EXCLUSIVE` keeps other
processes out and needs no shared-memory file. apsw bundles its SQLite: Debian's has the WAL-reset bug that was fixed
in 3.51.3 (https://sqlite.org/wal.html#walresetbug).
"""

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import apsw

from hundredfold.errors import Fenced, StoreUnavailable
from hundredfold.stores.contract import (
    ABSENT,
    ANY,
    Batch,
    Capabilities,
    Committed,
    Conflict,
    Entry,
    Guard,
    Record,
    end_of_prefix,
)

_P = ParamSpec("_P")
_T = TypeVar("_T")

_SCHEMA: Final = """
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS record (key BLOB PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS clock (version INTEGER NOT NULL);
INSERT INTO clock SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM clock);
"""
_GET: Final = "SELECT value, version FROM record WHERE key = ?"
_PUT: Final = (
    "INSERT INTO record VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value,"
    " version = excluded.version"
)
_DELETE: Final = "DELETE FROM record WHERE key = ?"
_SCAN: Final = "SELECT key, value, version FROM record WHERE key >= ? AND key > ? {end} ORDER BY key LIMIT ?"
_SCAN_BACK: Final = "SELECT key, value, version FROM record WHERE key >= ? {end} ORDER BY key DESC LIMIT ?"


def _typed(method: Callable[_P, _T]) -> Callable[_P, _T]:
    """Turn what SQLite raises into the contract's error."""

    @wraps(method)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return method(*args, **kwargs)
        except apsw.Error as error:
            store: SqliteStore = args[0]  # type: ignore[assignment]  # it wraps methods only
            raise StoreUnavailable(url=store.url, problem=_problem(error)) from error

    return wrapper


class SqliteStore:
    """An SQLite file at `path`, made if it is missing."""

    capabilities = Capabilities(durable=True, shared=False)

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:{path}"
        try:
            self._connection = apsw.Connection(str(path))
            self._connection.execute(_SCHEMA).fetchall()
            self._version = int(next(self._connection.execute("SELECT version FROM clock"))[0])
        except apsw.Error as error:
            raise StoreUnavailable(url=self.url, problem=_problem(error)) from error

    @_typed
    def get(self, keys: Sequence[bytes]) -> list[Record | None]:
        """See `Store.get`."""
        return [self._get(key) for key in keys]

    @_typed
    def scan(self, prefix: bytes, *, after: bytes = b"", limit: int = 1000, reverse: bool = False) -> list[Entry]:
        """See `Store.scan`."""
        ends = [bound for bound in (end_of_prefix(prefix), after if reverse else b"") if bound]
        end = "AND key < ? " * len(ends)
        if reverse:
            rows = self._connection.execute(_SCAN_BACK.format(end=end), (prefix, *ends, limit))
        else:
            rows = self._connection.execute(_SCAN.format(end=end), (prefix, after, *ends, limit))
        return [Entry(key, Record(value, version)) for key, value, version in rows]

    @_typed
    def commit(self, batches: Iterable[Batch], guard: Guard | None = None) -> list[Committed | Conflict]:
        """See `Store.commit`."""
        before = self._version
        with self._connection:
            if guard and self._version_of(guard.key) != guard.version:
                raise Fenced
            results = [self._commit_one(batch, version) for version, batch in enumerate(batches, before + 1)]
            self._connection.execute("UPDATE clock SET version = ?", (before + len(results),))
        self._version = before + len(results)
        return results

    def close(self) -> None:
        """See `Store.close`."""
        self._connection.close()

    def _commit_one(self, batch: Batch, version: int) -> Committed | Conflict:
        for write in batch.writes:
            if write.expects != ANY and write.expects != self._version_of(write.key):
                return Conflict(write.key)
        for write in batch.writes:
            if write.value is None:
                self._connection.execute(_DELETE, (write.key,))
            else:
                self._connection.execute(_PUT, (write.key, write.value, version))
        return Committed(version)

    def _get(self, key: bytes) -> Record | None:
        row = self._connection.execute(_GET, (key,)).fetchone()
        return Record(row[0], row[1]) if row else None

    def _version_of(self, key: bytes) -> int:
        record = self._get(key)
        return record.version if record else ABSENT


def _problem(error: apsw.Error) -> str:
    return f"{type(error).__name__}: {error}"
