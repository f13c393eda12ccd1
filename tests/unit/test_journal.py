"""Shows that nothing follows from an event before it is durable: with a storage whose commits are released by hand."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import cast

import pytest
from hundredfold.errors import Draining, Fenced, InternalError, StoreUnavailable
from hundredfold.stores.contract import Batch, Committed, Conflict
from hundredfold.v1 import task_pb2
from hundredfold_coordinator import keys
from hundredfold_coordinator.core import effects, events
from hundredfold_coordinator.core.state import Limits, State
from hundredfold_coordinator.journal import Journal, gathering_seconds
from hundredfold_coordinator.storage import Storage

BROKEN = StoreUnavailable(url="sqlite:x", problem="disk I/O error")


class HeldStorage:
    """Keeps every commit waiting until it is released."""

    def __init__(self) -> None:
        self.commits: list[list[Batch]] = []
        self._held: list[asyncio.Future[list[Committed | Conflict]]] = []

    async def commit(self, batches: Sequence[Batch]) -> list[Committed | Conflict]:
        self.commits.append(list(batches))
        self._held.append(asyncio.get_running_loop().create_future())
        return await self._held[-1]

    async def release(self, error: Exception | None = None, conflict: bytes = b"") -> None:
        """End the commit that is under way."""
        if error:
            self._held.pop(0).set_exception(error)
        else:
            results = [Conflict(conflict) if conflict else Committed(1) for _ in self.commits[-1]]
            self._held.pop(0).set_result(results)
        await settle()

    @property
    def waiting(self) -> int:
        return len(self._held)

    def tasks(self) -> list[list[str]]:
        """Return for each commit the tasks that it makes live."""
        live = [[write.key for batch in commit for write in batch.writes] for commit in self.commits]
        return [[key[5:].decode() for key in commit if key.startswith(keys.LIVE)] for commit in live]


class House:
    """A journal with its state, its storage and a list of what it has done."""

    def __init__(self) -> None:
        self.state = State(Limits(), lambda: "secret", lambda: 1.0)
        self.storage = HeldStorage()
        self.done: list[effects.Effect] = []
        self.journal = Journal(self.state, cast("Storage", self.storage), self._perform)
        self.running = asyncio.ensure_future(self.journal.run())

    def ask(self, task_id: str) -> asyncio.Future[str]:
        """Submit a task as an RPC handler does."""
        spec = task_pb2.TaskSpec(behaviour="b", environment="default")
        wanted = {"task_id": task_id, "spec": spec, "request_id": "", "digest": b"", "stored": None}
        return self.journal.ask(events.Submitted, **wanted)

    def replies(self) -> list[object]:
        return [effect.value for effect in self.done if isinstance(effect, effects.Reply)]

    def _perform(self, effect: effects.Effect) -> None:
        self.done.append(effect)
        if isinstance(effect, effects.Reply | effects.Refuse) and isinstance(effect.to, asyncio.Future):
            if effect.to.done():
                return
            if isinstance(effect, effects.Reply):
                effect.to.set_result(effect.value)
            else:
                effect.to.set_exception(effect.error)


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    house.running.cancel()
    await asyncio.gather(house.running, return_exceptions=True)


async def test_a_submission_is_answered_after_its_commit_and_not_before(house: House) -> None:
    answer = house.ask("t1")
    await settle()
    assert house.storage.tasks() == [["t1"]]
    assert "t1" in house.state.tasks, "it is decided"
    assert not answer.done(), "it is not durable"
    assert house.done == []
    await house.storage.release()
    assert await answer == "t1"


async def test_a_launch_follows_its_commit(house: House) -> None:
    house.journal.post(events.HostAttached(now_ns=1, host="h", inventory=[]))
    house.journal.post(events.EnvironmentChanged(now_ns=1, host="h", environment="default", ready=True))
    await settle()
    house.ask("t1")
    await settle()
    assert house.done == []
    await house.storage.release()
    assert [effect.attempt for effect in house.done if isinstance(effect, effects.Launch)] == [("t1", 1)]


async def test_what_comes_during_a_commit_shares_the_next(house: House) -> None:
    house.ask("t1")
    await settle()
    for task_id in ("t2", "t3", "t4"):
        house.ask(task_id)
    await settle()
    assert house.storage.waiting == 1, "one commit at a time"
    assert house.storage.tasks() == [["t1"]]
    await house.storage.release()
    assert house.storage.tasks() == [["t1"], ["t2", "t3", "t4"]]
    assert house.replies() == ["t1"]
    await house.storage.release()
    assert house.replies() == ["t1", "t2", "t3", "t4"]


async def test_what_comes_at_once_shares_one_commit(house: House) -> None:
    for task_id in ("t1", "t2"):
        house.ask(task_id)
    await settle()
    assert house.storage.tasks() == [["t1", "t2"]]
    assert len(house.storage.commits[0]) == 2, "each decision is a batch of its own"
    await house.storage.release()


async def test_what_writes_nothing_needs_no_commit(house: House) -> None:
    await house.journal.ask(events.DrainBegan)
    assert house.storage.commits == []


async def test_what_writes_nothing_still_waits_for_its_turn(house: House) -> None:
    first = house.ask("t1")
    await settle()
    second = house.journal.ask(events.CancelRequested, task_id="unknown", reason="")
    await settle()
    assert not second.done()
    await house.storage.release()
    assert first.done()
    assert second.done()


async def test_a_refusal_is_raised_to_whoever_asked(house: House) -> None:
    await house.journal.ask(events.DrainBegan)
    with pytest.raises(Draining):
        await house.ask("t1")
    assert house.storage.commits == []


async def test_a_caller_that_goes_away_cancels_nothing(house: House) -> None:
    gone = house.ask("t1")
    stays = house.ask("t2")
    await settle()
    gone.cancel()
    await settle()
    await house.storage.release()
    assert gone.cancelled()
    assert await stays == "t2"
    assert house.replies() == ["t1", "t2"]
    assert set(house.state.tasks) == {"t1", "t2"}
    assert not house.running.done()


@pytest.mark.parametrize("error", [BROKEN, Fenced()], ids=["broken", "fenced"])
async def test_a_store_that_fails_ends_it_and_nothing_follows(house: House, error: Exception) -> None:
    answer = house.ask("t1")
    await settle()
    later = house.ask("t2")
    await settle()
    await house.storage.release(error)
    with pytest.raises(type(error)):
        await house.running
    assert house.done == []
    assert not answer.done()
    assert not later.done()
    assert len(house.storage.commits) == 1
    for asked in (answer, later):
        asked.cancel()


async def test_a_conflict_ends_it_and_nothing_follows(house: House) -> None:
    answer = house.ask("t1")
    await settle()
    await house.storage.release(conflict=b"live/t1")
    with pytest.raises(InternalError, match="live/t1"):
        await house.running
    assert house.done == []
    answer.cancel()


async def test_after_a_failure_nothing_more_is_committed(house: House) -> None:
    lost, later = house.ask("t1"), house.ask("t2")
    await settle()
    house.journal.post(events.CancelRequested(now_ns=1, task_id="t1", reason="", reply=None))
    await house.storage.release(BROKEN)
    end = asyncio.ensure_future(house.journal.flush())
    await settle()
    for future in (end, lost, later):
        future.cancel()
    await asyncio.gather(end, lost, later, house.running, return_exceptions=True)
    assert len(house.storage.commits) == 1
    assert house.done == []


async def test_what_is_left_is_committed_at_the_end(house: House) -> None:
    house.running.cancel()
    await settle()
    answer = house.ask("t1")
    await settle()
    assert house.storage.commits == []
    end = asyncio.ensure_future(house.journal.flush())
    await settle()
    await house.storage.release()
    await end
    assert await answer == "t1"


@pytest.mark.parametrize(("shared", "milliseconds"), [(0, 0), (1, 0), (3, 0), (4, 4), (10, 10), (1000, 10)])
def test_the_more_share_a_commit_the_longer_the_next_one_gathers(shared: int, milliseconds: float) -> None:
    assert gathering_seconds(shared) == pytest.approx(milliseconds / 1000)
