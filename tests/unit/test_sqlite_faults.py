"""Shows which errors of the disk a commit can be tried again after, with a disk that fails as it is told to."""

import errno
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest
from hundredfold.errors import StoreFull, StoreUnavailable
from hundredfold.stores import mark as marks
from hundredfold.stores import sqlite
from hundredfold.stores.contract import Batch, Write
from hundredfold.stores.sqlite import SqliteStore


class FaultyDisk(apsw.VFS):
    """A disk on which operations fail.

    Attributes:
        faults: an SQLite result code by (end of the file's name, operation).
        number: the errno that comes with them.
        done: operations that have reached the disk.

    """

    def __init__(self) -> None:
        super().__init__("faulty", "unix", makedefault=True)
        self.faults: dict[tuple[str, str], int] = {}
        self.number = errno.EIO
        self.done: list[tuple[str, str]] = []

    def xOpen(self, name: Any, flags: list[int]) -> "FaultyFile":  # noqa: N802  # SQLite's name
        return FaultyFile(name, flags, self)

    def xGetLastError(self) -> tuple[int, str]:  # noqa: N802
        return self.number, ""

    def xDelete(self, name: str, sync: bool) -> None:  # noqa: FBT001, N802
        self.meet(name, "delete")
        super().xDelete(name, sync)

    def meet(self, name: str, operation: str) -> None:
        for (end, failing), code in self.faults.items():
            if name.endswith(end) and operation == failing:
                raise apsw.exception_for(code)
        self.done.append((name.rpartition(".")[2], operation))


class FaultyFile(apsw.VFSFile):
    def __init__(self, name: Any, flags: list[int], disk: FaultyDisk) -> None:
        super().__init__("unix", name, flags)
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        self._disk = disk

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.meet(self._name, "write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.meet(self._name, "sync")
        super().xSync(flags)


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    disk = FaultyDisk()
    yield disk
    disk.unregister()


@pytest.fixture
def store(disk: FaultyDisk, tmp_path: Path) -> Iterator[SqliteStore]:  # noqa: ARG001  # it has to be there first
    store = SqliteStore(tmp_path / "state.db")
    put(store, b"before")
    yield store
    store.abandon()


def put(store: SqliteStore, key: bytes, size: int = 100) -> None:
    store.commit([Batch([Write(key, bytes(size))])])


def kept(tmp_path: Path) -> list[bytes]:
    with closing(SqliteStore(tmp_path / "state.db")) as store:
        return [entry.key for entry in store.scan(b"")]


@pytest.mark.parametrize(
    ("code", "number"),
    [(apsw.SQLITE_FULL, 0), (apsw.SQLITE_IOERR_WRITE, errno.ENOSPC), (apsw.SQLITE_IOERR_WRITE, errno.EDQUOT)],
)
def test_without_room_nothing_is_written_and_the_same_commit_can_be_tried_again(
    code: int, number: int, store: SqliteStore, disk: FaultyDisk, tmp_path: Path
) -> None:
    disk.faults["-wal", "write"], disk.number = code, number
    for _ in range(3):
        with pytest.raises(StoreFull):
            put(store, b"k")
    assert [entry.key for entry in store.scan(b"")] == [b"before"]
    disk.faults.clear()
    put(store, b"k")
    store.abandon()
    assert kept(tmp_path) == [b"before", b"k"]


@pytest.mark.parametrize(
    ("operation", "code", "number"),
    [
        ("write", apsw.SQLITE_IOERR_WRITE, errno.EIO),
        ("sync", apsw.SQLITE_IOERR_FSYNC, errno.EIO),
        ("sync", apsw.SQLITE_IOERR_FSYNC, errno.ENOSPC),  # what it should have written may be gone
    ],
)
def test_every_other_failure_is_final(
    operation: str, code: int, number: int, store: SqliteStore, disk: FaultyDisk
) -> None:
    disk.faults["-wal", operation], disk.number = code, number
    with pytest.raises(StoreUnavailable):
        put(store, b"k")


def test_a_log_whose_copy_is_not_synced_is_a_failure_of_the_commit(store: SqliteStore, disk: FaultyDisk) -> None:
    # SQLite's own checkpoints keep this to themselves, and sync again next time.
    store._checkpoint_pages = 1
    disk.faults[".db", "sync"] = apsw.SQLITE_IOERR_FSYNC
    with pytest.raises(StoreUnavailable, match="IOError"):
        put(store, b"k")


def test_a_log_that_cannot_be_copied_for_want_of_room_grows_until_it_can(
    store: SqliteStore, disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sqlite, "_CHECKPOINT_PAGES", 10)
    store._checkpoint_pages = 10
    disk.faults[".db", "write"] = apsw.SQLITE_FULL
    for number in range(30):
        put(store, b"k%02d" % number, 4000)
    assert ("db", "write") not in disk.done[-60:]
    disk.faults.clear()
    for number in range(30, 60):
        put(store, b"k%02d" % number, 4000)
    assert ("db", "write") in disk.done[-60:]
    store.abandon()
    assert len(kept(tmp_path)) == 61


def test_the_log_is_copied_when_it_is_long_enough(store: SqliteStore, disk: FaultyDisk) -> None:
    disk.done.clear()
    for number in range(400):
        put(store, b"k%03d" % number, 8000)
    assert 1 <= disk.done.count(("db", "sync")) <= 5


def test_leaving_it_alone_touches_nothing(store: SqliteStore, disk: FaultyDisk, tmp_path: Path) -> None:
    disk.done.clear()
    store.abandon()
    store.abandon()
    assert disk.done == []
    assert (tmp_path / "state.db-wal").stat().st_size > 0


def test_closing_copies_the_log_and_removes_it(store: SqliteStore, tmp_path: Path) -> None:
    store.close()
    assert not (tmp_path / "state.db-wal").exists()
    assert kept(tmp_path) == [b"before"]


def test_a_mark_that_finds_no_room_stays_behind_and_the_commit_stands(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Said to be full, this commit would be tried again, and find itself in its way.
    def full(_descriptor: int, _data: bytes, _offset: int) -> int:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(marks.os, "pwrite", full)
    put(store, b"k")
    monkeypatch.undo()
    store.abandon()
    assert kept(tmp_path) == [b"before", b"k"]


def test_a_mark_that_cannot_be_written_is_a_failure(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_descriptor: int, _data: bytes, _offset: int) -> int:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(marks.os, "pwrite", broken)
    with pytest.raises(StoreUnavailable):
        put(store, b"k")


def test_a_second_opener_in_this_process_frees_no_lock(store: SqliteStore, tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with pytest.raises(StoreUnavailable, match="Busy"):
        SqliteStore(path)
    script = f"from pathlib import Path; from hundredfold.stores.sqlite import *; SqliteStore(Path({str(path)!r}))"
    other = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert "BusyError" in other.stderr
    put(store, b"k")


def test_files_are_private(store: SqliteStore, tmp_path: Path) -> None:
    put(store, b"k")
    assert {path.suffix for path in tmp_path.iterdir()} == {".db", ".db-wal", ".db-mark"}
    assert [path for path in tmp_path.iterdir() if path.stat().st_mode & 0o077] == []
