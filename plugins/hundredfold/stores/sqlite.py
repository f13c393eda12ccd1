"""The default store: one SQLite file, owned by one connection of one thread.

WAL with `synchronous=FULL` makes every commit durable before it returns; `locking_mode=EXCLUSIVE` keeps other
processes out and needs no shared-memory file. apsw bundles its SQLite: Debian's has the WAL-reset bug that was fixed
in 3.51.3 (https://sqlite.org/wal.html#walresetbug).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from itertools import chain
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import apsw

from hundredfold.errors import Fenced, StoreUnavailable
from hundredfold.stores.contract import (
    ABSENT,
    Batch,
    Capabilities,
    Committed,
    Conflict,
    Entry,
    Guard,
    Record,
    end_of_prefix,
)
from hundredfold.stores.plan import asked_keys, plan_commit

_P = ParamSpec("_P")
_T = TypeVar("_T")

# Every statement takes the interpreter's lock away from the coordinator's loop and back, so one is made to do for many
# rows; up to this number of them, as each number of rows is a statement of its own to be kept prepared.
_ROWS: Final = 64
_STATEMENTS: Final = 5 * _ROWS

# Not WITHOUT ROWID: the keys would then share their pages with the values, and every search would read large ones.
_SCHEMA: Final = """
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS record (key BLOB PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS clock (version INTEGER NOT NULL);
INSERT INTO clock SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM clock);
"""
_GET: Final = "SELECT key, value, version FROM record WHERE key IN ({keys})"
_VERSIONS: Final = "SELECT key, version FROM record WHERE key IN ({keys})"
_PUT: Final = (
    "INSERT INTO record VALUES {rows} ON CONFLICT (key) DO UPDATE SET value = excluded.value,"
    " version = excluded.version"
)
_DELETE: Final = "DELETE FROM record WHERE key IN ({keys})"
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
            self._connection = apsw.Connection(str(path), statementcachesize=_STATEMENTS)
            self._connection.execute(_SCHEMA).fetchall()
            self._version = int(next(self._connection.execute("SELECT version FROM clock"))[0])
        except apsw.Error as error:
            raise StoreUnavailable(url=self.url, problem=_problem(error)) from error

    @_typed
    def get(self, keys: Sequence[bytes]) -> list[Record | None]:
        """See `Store.get`."""
        rows = self._in_rows(_GET, keys)
        found = {key: Record(value, version) for key, value, version in rows}
        return [found.get(key) for key in keys]

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
        batches = list(batches)
        asked = asked_keys(batches) | ({guard.key} if guard else set())
        with self._connection:
            versions = dict(self._in_rows(_VERSIONS, list(asked)))
            if guard and versions.get(guard.key, ABSENT) != guard.version:
                raise Fenced
            plan = plan_commit(batches, versions, self._version)
            self._write(plan.changes)
            self._connection.execute("UPDATE clock SET version = ?", (plan.version,))
        self._version = plan.version
        return plan.results

    def close(self) -> None:
        """See `Store.close`."""
        self._connection.close()

    def _write(self, changes: Mapping[bytes, Record | None]) -> None:
        self._in_rows(_DELETE, [key for key, record in changes.items() if record is None])
        rows = [(key, record.value, record.version) for key, record in changes.items() if record]
        for some in _chunks(rows):
            statement = _PUT.format(rows=",".join(["(?, ?, ?)"] * len(some)))
            self._connection.execute(statement, tuple(chain.from_iterable(some)))

    def _in_rows(self, statement: str, keys: Sequence[bytes]) -> list[tuple[Any, ...]]:
        """Execute a statement about keys, many at once; return its rows."""
        rows: list[tuple[Any, ...]] = []
        for some in _chunks(keys):
            rows += self._connection.execute(statement.format(keys=",".join("?" * len(some))), tuple(some)).fetchall()
        return rows


def _chunks(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (items[start : start + _ROWS] for start in range(0, len(items), _ROWS))


def _problem(error: apsw.Error) -> str:
    return f"{type(error).__name__}: {error}"
