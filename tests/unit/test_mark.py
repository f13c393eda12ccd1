"""Shows that the high-water mark outlives torn writes and says no more than it was told."""

from pathlib import Path

import pytest
from hundredfold.stores import mark as marks
from hundredfold.stores.mark import HighWaterMark


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db-mark"


def kept(path: Path) -> int:
    mark = HighWaterMark(path)
    mark.abandon()
    return mark.version


def test_a_new_one_knows_nothing_and_is_private(path: Path) -> None:
    assert kept(path) == 0
    assert path.stat().st_mode & 0o077 == 0


def test_it_keeps_what_was_noted_last(path: Path) -> None:
    mark = HighWaterMark(path)
    for version in range(1, 6):
        mark.note(version)
    mark.close()
    mark.close()
    assert kept(path) == 5


def test_it_needs_no_close(path: Path) -> None:
    mark = HighWaterMark(path)
    mark.note(7)
    mark.abandon()
    assert kept(path) == 7


def test_it_syncs_once_a_second_at_most(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    synced: list[float] = []
    mark = HighWaterMark(path)
    monkeypatch.setattr(marks.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(marks.os, "fdatasync", lambda _descriptor: synced.append(now[0]))
    mark._synced = now[0]
    for version in range(1, 41):
        now[0] += 0.1
        mark.note(version)
    assert len(synced) in (3, 4)
    mark.close()
    assert len(synced) in (4, 5)


@pytest.mark.parametrize("length", range(20))
def test_a_torn_write_costs_the_newest_only(path: Path, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = HighWaterMark(path)
    monkeypatch.setattr(marks, "_SYNC_SECONDS", 0)  # every note is synced, and so the slots take turns
    mark.note(1 << 40)
    mark.note((1 << 40) + 1)
    before = path.read_bytes()
    mark.note((1 << 56) + 2)
    after = path.read_bytes()
    mark.abandon()
    (offset,) = {index // 4096 * 4096 for index in range(len(before)) if before[index] != after[index]}
    path.write_bytes(before[:offset] + after[offset : offset + length] + before[offset + length :])
    assert kept(path) in ((1 << 40) + 1, (1 << 56) + 2)


def test_what_is_no_mark_says_nothing(path: Path) -> None:
    path.write_bytes(b"\xff" * 8192)
    assert kept(path) == 0
