"""Shows what a full store does: commits wait and are tried again as they were, and nothing new is accepted."""

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import pytest
from hundredfold.errors import StoreFull, StoreUnavailable
from hundredfold.stores.contract import Batch, Committed, Conflict, Guard, Write
from hundredfold.stores.memory import MemoryStore
from hundredfold.v1 import task_pb2
from hundredfold_coordinator import room as rooms
from hundredfold_coordinator.ballast import Ballast
from hundredfold_coordinator.core import effects, events
from hundredfold_coordinator.core.state import Limits, State
from hundredfold_coordinator.journal import Journal
from hundredfold_coordinator.room import Room
from hundredfold_coordinator.storage import Storage


class SmallDisk(MemoryStore):
    """A store that has no room while `free` is negative; the ballast, when it goes, gives some."""

    def __init__(self) -> None:
        super().__init__()
        self.free = 100
        self.tried: list[list[Batch]] = []
        self.error: Exception | None = None

    def commit(self, batches: Iterable[Batch], guard: Guard | None = None) -> list[Committed | Conflict]:
        batches = list(batches)
        self.tried.append(batches)
        if self.error:
            raise self.error
        if self.free <= 0:
            raise StoreFull(1)
        self.free -= 1
        return super().commit(batches, guard)


class Weight(Ballast):
    """A ballast on a `SmallDisk`: it is worth five commits."""

    def __init__(self, disk: SmallDisk) -> None:
        super().__init__(Path("nowhere"), 1)
        self.disk = disk
        self.there = False

    def make(self) -> bool:
        if not self.there and self.disk.free >= 5:
            self.disk.free -= 5
            self.there = True
        return self.there

    def release(self) -> bool:
        was, self.there = self.there, False
        self.disk.free += 5 * was
        return was


class House:
    """A journal over a store with little room."""

    def __init__(self) -> None:
        self.disk = SmallDisk()
        self.room = Room(Weight(self.disk))
        self.failures: list[StoreUnavailable] = []
        self.storage = Storage(self.room, on_failure=self.failures.append)
        self.state = State(Limits(), lambda: "secret", lambda: 1.0)
        self.journal = Journal(self.state, self.storage, self._perform)
        self.writer = asyncio.ensure_future(self.journal.run())
        self.room.watch(
            lambda full: self.journal.post(events.StoreRoomChanged(now_ns=1, full=full)),
        )

    async def __aenter__(self) -> Self:
        await self.storage.open(lambda: self.disk)
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.room.give_up()
        self.writer.cancel()
        await asyncio.gather(self.writer, return_exceptions=True)
        await self.storage.close()

    def submit(self, task_id: str) -> asyncio.Future[str]:
        spec = task_pb2.TaskSpec(behaviour="b", environment="default")
        return self.journal.ask(events.Submitted, task_id=task_id, spec=spec, request_id="", digest=b"", stored=None)

    def _perform(self, effect: effects.Effect) -> None:
        if isinstance(effect, effects.Reply | effects.Refuse) and isinstance(effect.to, asyncio.Future):
            if isinstance(effect, effects.Reply):
                effect.to.set_result(effect.value)
            else:
                effect.to.set_exception(effect.error)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "_RETRY_SECONDS", 0.01)


async def test_the_ballast_is_given_up_and_the_same_commit_is_tried_again() -> None:
    async with House() as house:
        house.disk.free = 0
        assert await house.submit("t1") == "t1"
        assert house.disk.tried[0] == house.disk.tried[1]
        assert house.state.store_full


async def test_nothing_new_is_accepted_afterwards_until_the_ballast_is_back() -> None:
    async with House() as house:
        house.disk.free = 0
        await house.submit("t1")
        with pytest.raises(StoreFull):
            await house.submit("t2")
        house.room.look()
        with pytest.raises(StoreFull):
            await house.submit("t2")
        house.disk.free = 6
        house.room.look()
        assert await house.submit("t2") == "t2"


async def test_a_commit_waits_as_long_as_it_takes_while_refusals_and_reads_do_not() -> None:
    async with House() as house:
        house.disk.free = 0
        house.room._ballast.release()
        house.disk.free = 0
        waiting = house.submit("t1")
        while len(house.disk.tried) < 5:
            await asyncio.sleep(0.001)
        with pytest.raises(StoreFull):
            await house.submit("t2")
        assert await house.storage.get([b"task/t1"]) == [None]
        house.disk.free = 20
        house.room.look()
        assert not house.room._ballast.there, "what waits comes before the ballast"  # type: ignore[attr-defined]
        assert await waiting == "t1"
        assert all(tried == house.disk.tried[0] for tried in house.disk.tried)


async def test_who_stops_does_not_wait_for_room() -> None:
    async with House() as house:
        house.room._ballast.release()
        house.disk.free = 0
        answer = house.submit("t1")
        while len(house.disk.tried) < 3:
            await asyncio.sleep(0.001)
        house.room.give_up()
        with pytest.raises(StoreFull):
            await house.writer
        assert not answer.done()
        answer.cancel()


async def test_a_store_that_starts_full_accepts_nothing() -> None:
    disk = SmallDisk()
    disk.free = 2
    room = Room(Weight(disk))
    seen: list[bool] = []
    room.watch(seen.append)
    assert seen == [True]


async def test_a_failure_is_told_in_the_thread_of_the_store_before_anybody_else_learns_of_it() -> None:
    async with House() as house:
        house.disk.error = StoreUnavailable(url="u", problem="disk I/O error")
        with pytest.raises(StoreUnavailable):
            await house.storage.commit([Batch([Write(b"k", b"v")])])
        assert house.failures == [house.disk.error]
        house.disk.error = None


def test_the_ballast_is_allocated_and_private(tmp_path: Path) -> None:
    path = tmp_path / "ballast"
    ballast = Ballast(path, 1 << 20)
    assert ballast.make()
    assert ballast.make()
    found = path.stat()
    assert (found.st_size, found.st_mode & 0o077) == (1 << 20, 0)
    assert found.st_blocks * 512 >= 1 << 20
    assert ballast.release()
    assert not ballast.release()
    assert not path.exists()


def test_a_ballast_of_another_size_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "ballast"
    Ballast(path, 1 << 20).make()
    Ballast(path, 1 << 16).make()
    assert path.stat().st_size == 1 << 16
    assert Ballast(path, 0).make()
    assert not path.exists()


def test_what_hinders_a_ballast_beside_room_is_raised(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=os.strerror(2)):
        Ballast(tmp_path / "missing" / "ballast", 1).make()


async def test_what_nothing_follows_from_is_refused_and_takes_no_ballast() -> None:
    disk = SmallDisk()
    ballast = Weight(disk)
    storage = Storage(Room(ballast))
    await storage.open(lambda: disk)
    disk.free = 0
    with pytest.raises(StoreFull):
        await storage.commit([Batch([Write(b"a", b"1")])], wait_for_room=False)
    assert (ballast.there, len(disk.tried)) == (True, 1)
    await storage.close()
