"""The default store: one SQLite file, owned by one connection of one thread.

WAL with `synchronous=FULL` makes every commit durable before it returns; `locking_mode=EXCLUSIVE` keeps other
processes out and needs no shared-memory file. apsw bundles its SQLite: Debian's has the WAL-reset bug that was fixed
in 3.51.3 (https://sqlite.org/wal.html#walresetbug).

A commit that finds no room is rolled back and can be tried again. Any other failure of a write or a sync leaves open
what is on the disk: nobody may go on with this store then, nor close it, see `Store.commit`.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import wraps
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, ParamSpec, TypeVar

import apsw

from hundredfold.errors import Fenced, HundredfoldError, StoreDamaged, StoreFull, StoreUnavailable
from hundredfold.stores.backup import back_up
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
from hundredfold.stores.mark import HighWaterMark, sync_directory
from hundredfold.stores.plan import asked_keys, plan_commit
from hundredfold.stores.search import Extract, Hit
from hundredfold.stores.sqlite_changes import ChangeLog
from hundredfold.stores.sqlite_index import VectorIndex, throw_away

_P = ParamSpec("_P")
_T = TypeVar("_T")

# Every statement takes the interpreter's lock away from the coordinator's loop and back, so one is made to do for many
# rows; up to this number of them, as each number of rows is a statement of its own to be kept prepared.
_ROWS: Final = 64
_STATEMENTS: Final = 5 * _ROWS

_CHECKPOINT_PAGES: Final = 1000
"""Length of the log, in pages, at which it is copied into the file: SQLite's own default."""

_RETRY_SECONDS: Final = 5
"""When to try again what was refused for want of room."""

_PROBLEMS: Final = 100
"""Most problems that a check returns."""

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
_CURES: Final[Mapping[type[Exception], str]] = MappingProxyType(
    {
        apsw.BusyError: "; another process has it open: end that one, for a store has one user only",
        apsw.NotADBError: "; name another file, or restore a backup",
        apsw.CorruptError: "; keep a copy of it and of its log, and restore a backup",
        apsw.ReadOnlyError: "; look at its owner and mode, and at how its file system is mounted",
        apsw.CantOpenError: "; look whether its directory is there and may be written",
        PermissionError: "; look at its owner and mode",
        FileNotFoundError: "; make its directory",
    }
)

_PRAGMAS: Final = """
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
"""
# Not WITHOUT ROWID: the keys would then share their pages with the values, and every search would read large ones.
_SCHEMA: Final = """
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
    """Turn what SQLite and the file system raise into the contract's errors."""

    @wraps(method)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return method(*args, **kwargs)
        except (apsw.Error, OSError) as error:
            store: SqliteStore = args[0]  # type: ignore[assignment]  # it wraps methods only
            raise store.explain(error) from error

    return wrapper


class SqliteStore:
    """An SQLite file at `path`, made if it is missing; its high-water mark lies beside it.

    Raises:
        StoreDamaged: it is not as far as it once was.
        StoreFull: there is no room to make it.
        StoreUnavailable: it cannot be used; the error says what to do.

    """

    capabilities = Capabilities(durable=True, shared=False, vectors=True)

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:{path}"
        self._path = path
        self._closed = False
        self._mark: HighWaterMark | None = None
        self._index: VectorIndex | None = None
        self._version = 0
        self._log_pages = 0
        self._checkpoint_pages = _CHECKPOINT_PAGES
        try:
            _make_private(path)
            self._connection = apsw.Connection(str(path), statementcachesize=_STATEMENTS)
        except (apsw.Error, OSError) as error:
            raise self.explain(error) from error
        try:
            self._open(path)
        except BaseException as error:
            self.abandon()
            if isinstance(error, apsw.Error | OSError):
                raise self.explain(error) from error
            raise

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
        with self._transaction():
            versions = dict(self._in_rows(_VERSIONS, list(asked)))
            if guard and versions.get(guard.key, ABSENT) != guard.version:
                raise Fenced
            plan = plan_commit(batches, versions, self._version)
            self._write(plan.changes)
            self._changes.note(plan.changes, plan.version, self._index.durable if self._index else 0)
            self._connection.execute("UPDATE clock SET version = ?", (plan.version,))
        self._version = plan.version
        self._note(plan.version)
        if self._index:
            self._index.change(plan.changes, plan.version)
        if self._log_pages >= self._checkpoint_pages:
            self._checkpoint()
        return plan.results

    @_typed
    def index(self, prefix: bytes, extract: Extract) -> None:
        """See `Searching.index`."""
        self._changes.begin(prefix, self._version)
        self._index = VectorIndex(self, self._path, self._changes, extract)
        self._index.catch_up(self._version)

    def search(self, collection: str, vector: bytes, limit: int, where: Mapping[str, str] | None = None) -> list[Hit]:
        """See `Searching.search`."""
        return self._index.search(collection, vector, limit, where or {}) if self._index else []

    def check(self) -> list[str]:
        """See `SelfChecking.check`."""
        try:
            rows: Any = self._connection.execute(f"PRAGMA integrity_check({_PROBLEMS})").fetchall()
            highest: Any = self._connection.execute("SELECT max(version) FROM record").fetchall()
        except apsw.Error as error:
            return [f"{type(error).__name__}: {error}"]
        problems = [str(text) for (text,) in rows if text != "ok"]
        if (highest[0][0] or 0) > self._version:
            problems.append(f"a record has version {highest[0][0]}, and none above {self._version} was given")
        return problems

    def back_up(self, path: Path) -> Iterator[None]:
        """See `Copying.back_up`."""
        return back_up(self._connection, path)

    @_typed
    def close(self) -> None:
        """See `Store.close`."""
        if not self._closed:
            self._closed = True
            if self._index:
                self._index.close()
            self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
            self._connection.close()
            if self._mark:
                self._mark.close()

    def abandon(self) -> None:
        """Close without writing anything: not the log into the file, and no sync of any kind. Idempotent."""
        self._closed = True
        if self._index:
            self._index.close(quietly=True)
        self._connection.close()
        if self._mark:
            self._mark.abandon()

    def explain(self, error: Exception) -> HundredfoldError:
        """Return the error that says what SQLite or the file system has raised."""
        if isinstance(error, apsw.FullError) or self._lacks_room(error):
            return StoreFull(_RETRY_SECONDS)
        cure = next((cure for kind, cure in _CURES.items() if isinstance(error, kind)), "")
        problem = f"{type(error).__name__}: {error}{cure}"
        return StoreUnavailable(url=self.url, problem=problem)

    def _lacks_room(self, error: Exception) -> bool:
        if isinstance(error, OSError):
            return error.errno in _NO_ROOM
        # A sync that fails for want of room is something else: what it should have written is lost.
        written = getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_WRITE
        return written and self._connection.system_errno in _NO_ROOM

    def _open(self, path: Path) -> None:
        # Whatever is wrong with this file, closing it must not write the log into it and delete that.
        self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        if self._connection.readonly("main"):
            raise apsw.ReadOnlyError(f"{path} may not be written")
        self._connection.execute(_PRAGMAS).fetchall()
        self._version = self._stored_version()
        self._mark = HighWaterMark(mark_path(path))
        if self._version < self._mark.version:
            raise StoreDamaged(str(path), self._mark.version - self._version)
        self._connection.setwalhook(self._count_log_pages)  # which also ends SQLite's own checkpoints
        self._connection.execute(_SCHEMA).fetchall()
        self._changes = ChangeLog(self._connection)

    def _note(self, version: int) -> None:
        try:
            if self._mark:
                self._mark.note(version)
        except OSError as error:
            # Some file systems need room even to overwrite. The commit stands, and may not be tried again; a mark that
            # stays behind claims too little, never too much.
            if error.errno not in _NO_ROOM:
                raise

    def _stored_version(self) -> int:
        tables: Any = self._connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'clock'").fetchall()
        rows: Any = self._connection.execute("SELECT version FROM clock").fetchall() if tables[0][0] else []
        return int(rows[0][0]) if rows else 0

    def _count_log_pages(self, _connection: object, _name: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        """Copy the log into the file. SQLite's own checkpoints do the same, but say nothing of a sync that has failed.

        Raises:
            apsw.Error: the copy is not known to be on the disk.

        """
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as error:
            if not isinstance(error, apsw.FullError) and not self._lacks_room(error):
                raise
            # The commit is in the log, durably, and that may grow; try again a while later.
            self._checkpoint_pages = self._log_pages + _CHECKPOINT_PAGES
        else:
            self._checkpoint_pages = _CHECKPOINT_PAGES

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite may have rolled it back itself
                self._connection.execute("ROLLBACK")
            raise

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


def _make_private(path: Path) -> None:
    """Make the file if it is missing: the log gets the same mode, and SQLite does not sync its name."""
    if not path.exists():  # to open and close one that is in use here would free its locks: fcntl(2)
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        sync_directory(path.parent)


def _chunks(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (items[start : start + _ROWS] for start in range(0, len(items), _ROWS))


def mark_path(path: Path) -> Path:
    """Return where the high-water mark of the store at `path` is."""
    return path.with_name(f"{path.name}-mark")


def accept_loss(path: Path) -> int:
    """Take what the store at `path` holds for the whole truth; return how many changes were missing.

    Versions go on behind the high-water mark, so that none that was lost is given a second time.

    Raises:
        StoreUnavailable: it cannot be used at all.

    """
    try:
        with closing(SqliteStore(path)):
            return 0
    except StoreDamaged as damage:
        mark = HighWaterMark(mark_path(path))
        mark.abandon()
        with closing(apsw.Connection(str(path))) as connection:
            connection.execute(_SCHEMA).fetchall()  # even that may be what was lost
            connection.execute("UPDATE clock SET version = ?", (mark.version,))
        throw_away(path)  # what it was made from may never have been
        SqliteStore(path).close()
        return damage.missing
