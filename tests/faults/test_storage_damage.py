"""What files can suffer, and what a store says then.

Each test was seen to fail with its protection switched off; a comment says what that was.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from hundredfold.errors import StoreDamaged, StoreUnavailable
from hundredfold.stores.contract import Batch, Committed, Write
from hundredfold.stores.sqlite import SqliteStore, accept_loss, mark_path
from storage_tools import Serve, needs_root, second, small_disk, store_command

MIB = 1 << 20


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A database as a killed process leaves it: 50 commits, of which the first ones are not only in the log."""
    path = tmp_path / "state.db"
    store = SqliteStore(path)
    for number in range(50):
        store.commit([Batch([Write(b"k%02d" % number, b"v" * 1000)])])
        if number == 20:
            store._checkpoint()
    store.abandon()
    return path


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


LOSSES: dict[str, Callable[[Path], object]] = {
    "flipped log": lambda path: flip(log_of(path), log_of(path).stat().st_size // 2),
    "truncated log": lambda path: os.truncate(log_of(path), log_of(path).stat().st_size // 2),
    "deleted log": lambda path: log_of(path).unlink(),
    "emptied log": lambda path: os.truncate(log_of(path), 0),
    "deleted": lambda path: (path.unlink(), log_of(path).unlink()),
    "emptied": lambda path: (os.truncate(path, 0), log_of(path).unlink()),
    "an old copy": lambda path: shutil.copy(path.with_name("old"), path),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_lost_changes_are_noticed_counted_and_touched_by_nobody(loss: Callable[[Path], object], written: Path) -> None:
    # Off: the comparison with the mark in `SqliteStore._open`; every one of these then opens without a word.
    shutil.copy(written, written.with_name("old"))
    if loss is LOSSES["an old copy"]:
        SqliteStore(written).close()
    loss(written)
    log = log_of(written)
    before = log.read_bytes() if log.exists() else b""
    with pytest.raises(StoreDamaged) as caught:
        SqliteStore(written)
    assert caught.value.file == str(written)
    assert 1 <= caught.value.missing <= 50
    assert (log.read_bytes() if log.exists() else b"") == before, "what is left is for somebody to look at"
    assert accept_loss(written) == caught.value.missing
    with closing(SqliteStore(written)) as store:
        assert len(store.scan(b"")) == 50 - caught.value.missing
        assert store.check() == []
        (result,) = store.commit([Batch([Write(b"new", b"")])])
        assert isinstance(result, Committed)
        assert result.version > 50, "a version that was lost is not given again"


def test_nothing_is_lost_by_a_kill(written: Path) -> None:
    with closing(SqliteStore(written)) as store:
        assert len(store.scan(b"")) == 50
    assert accept_loss(written) == 0


def test_a_store_without_a_mark_gets_one(written: Path) -> None:
    mark_path(written).unlink()
    SqliteStore(written).close()
    log_of(written).unlink(missing_ok=True)
    with closing(SqliteStore(written)) as store:
        assert len(store.scan(b"")) == 50


UNUSABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no database": (lambda path: path.write_bytes(b"x" * 8192), "NotADB.*restore a backup"),
    "truncated": (lambda path: os.truncate(path, 4096 * 3), "(?i)corrupt.*restore a backup"),
    "a directory": (lambda path: (path.unlink(), path.mkdir()), "directory"),
}


@pytest.mark.parametrize(("harm", "told"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_cannot_be_used_is_refused_with_a_cure(harm: Callable[[Path], object], told: str, written: Path) -> None:
    # Off: `_CURES` emptied.
    SqliteStore(written).close()
    harm(written)
    with pytest.raises(StoreUnavailable, match=told), closing(SqliteStore(written)) as store:
        store.scan(b"")  # a part may be found only when it is read


def test_a_database_that_somebody_else_has_open_is_refused(written: Path) -> None:
    with closing(apsw.Connection(str(written))) as other:
        other.execute("BEGIN; SELECT * FROM record").fetchall()
        with pytest.raises(StoreUnavailable, match=r"Busy.*another process has it open"):
            SqliteStore(written)


@needs_root
def test_a_read_only_file_system_is_refused(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, 8 * MIB):
        SqliteStore(disk / "state.db").close()
        subprocess.run(["/usr/bin/env", "mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(StoreUnavailable, match=r"ReadOnly.*mounted"):
            SqliteStore(disk / "state.db")


def test_a_coordinator_refuses_a_damaged_store_until_the_loss_is_accepted(data_dir: Path, serve: Serve) -> None:
    # Off: as above; the coordinator starts, and task and result are gone without a word.
    process = serve()
    with process.client() as client:
        client.wait(client.submit("say", {"number": 1}).id)
    process.signal(signal.SIGKILL)
    process.wait()
    flip(log_of(data_dir / "hundredfold.db"), 5000)
    with second(data_dir) as refused:
        _, told = refused.communicate(timeout=20)
    assert refused.returncode == 5
    assert "[STORE_DAMAGED]" in told
    assert "hundredfold store accept-loss" in told
    store_command(data_dir, "accept-loss")
    with serve().client() as client:
        assert client.check_store().problem_count == 0
