"""Shows that one coordinator at a time has a data directory, and that the second one is told who."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hundredfold.errors import DataDirectoryBusy
from hundredfold_coordinator.lock import DataDirectoryLock


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[DataDirectoryLock]:
    lock = DataDirectoryLock(tmp_path)
    yield lock
    lock.release()


def test_a_second_one_is_told_who_has_it(lock: DataDirectoryLock, tmp_path: Path) -> None:
    lock.acquire()
    with pytest.raises(DataDirectoryBusy) as caught:
        DataDirectoryLock(tmp_path).acquire()
    assert caught.value.figures() == {"data_dir": str(tmp_path), "holder": f"the coordinator with pid {os.getpid()}"}
    assert "hundredfold stop" in str(caught.value)


def test_it_can_be_taken_again_after_it_was_freed(lock: DataDirectoryLock, tmp_path: Path) -> None:
    lock.acquire()
    lock.release()
    second = DataDirectoryLock(tmp_path)
    second.acquire()
    with pytest.raises(DataDirectoryBusy):
        lock.acquire()
    second.release()
    lock.acquire()


def test_freeing_is_idempotent(lock: DataDirectoryLock) -> None:
    lock.release()
    lock.acquire()
    lock.release()
    lock.release()


def test_a_refused_one_frees_nothing(lock: DataDirectoryLock, tmp_path: Path) -> None:
    lock.acquire()
    refused = DataDirectoryLock(tmp_path)
    with pytest.raises(DataDirectoryBusy):
        refused.acquire()
    refused.release()
    with pytest.raises(DataDirectoryBusy):
        refused.acquire()


def test_a_stale_file_is_no_lock(lock: DataDirectoryLock, tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("12345678901234567890\n")
    lock.acquire()
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_holder_that_has_not_said_its_name_is_unknown(lock: DataDirectoryLock, tmp_path: Path) -> None:
    lock.acquire()
    (tmp_path / "lock").write_text("")
    with pytest.raises(DataDirectoryBusy, match="pid unknown"):
        DataDirectoryLock(tmp_path).acquire()


def test_it_is_readable_by_nobody_else_and_inherited_by_no_child(lock: DataDirectoryLock, tmp_path: Path) -> None:
    lock.acquire()
    assert (tmp_path / "lock").stat().st_mode & 0o077 == 0
    assert not os.get_inheritable(lock._descriptor)


def test_directories_do_not_hinder_each_other(lock: DataDirectoryLock, tmp_path: Path) -> None:
    lock.acquire()
    other = tmp_path / "other"
    other.mkdir()
    second = DataDirectoryLock(other)
    second.acquire()
    second.release()


async def test_a_standby_says_whom_it_waits_for_and_goes_on_when_it_may(
    lock: DataDirectoryLock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    lock.acquire()
    second = DataDirectoryLock(tmp_path)
    waiting = asyncio.ensure_future(second.wait())
    while not caplog.messages:
        await asyncio.sleep(0)
    (tmp_path / "lock").write_text("12\n")
    while len(caplog.messages) < 2:
        await asyncio.sleep(0.01)
    assert [message.rpartition(" ")[2] for message in caplog.messages] == [str(os.getpid()), "12"]
    assert not waiting.done()
    lock.release()
    await waiting
    with pytest.raises(DataDirectoryBusy):
        lock.acquire()
    second.release()
