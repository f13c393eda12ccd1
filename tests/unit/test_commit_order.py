"""Nothing follows from a decision before its writes are durable: shown by a store that records the order of things."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hundredfold.errors import StoreUnavailable
from hundredfold.stores.contract import Batch, Committed, Conflict
from hundredfold.v1 import payload_pb2, task_pb2
from hundredfold_coordinator.core import effects, events
from hundredfold_coordinator.core.state import HostState, Limits, State
from hundredfold_coordinator.journal import Journal


class RecordingStorage:
    """Commits when it is told to, and writes down what came when."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.batches: list[Batch] = []
        self.permits = asyncio.Semaphore(0)
        self.error: Exception | None = None

    async def commit(self, batches: Sequence[Batch]) -> list[Committed | Conflict]:
        self.order.append(f"commit of {len(batches)} began")
        await self.permits.acquire()
        if self.error:
            raise self.error
        self.order.append("commit is durable")
        self.batches += batches
        return [Committed(1) for _ in batches]


class House:
    """A journal over a recording storage; effects are written down, replies given."""

    def __init__(self) -> None:
        self.storage = RecordingStorage()
        self.state = State(Limits(), lambda: "secret", lambda: 1.0)
        self.state.hosts["h"] = HostState("h", environments={"default": None})
        self.journal = Journal(self.state, self.storage, self._perform)  # type: ignore[arg-type]  # a fake
        self.writer = asyncio.ensure_future(self.journal.run())

    def _perform(self, effect: effects.Effect) -> None:
        self.storage.order.append(type(effect).__name__)
        if isinstance(effect, effects.Reply) and isinstance(effect.to, asyncio.Future) and not effect.to.done():
            effect.to.set_result(effect.value)

    def submit(self, task_id: str) -> "asyncio.Task[Any]":
        spec = task_pb2.TaskSpec(behaviour="b", environment="default", input=payload_pb2.Payload(data=b"1"))
        fields = {"task_id": task_id, "spec": spec, "request_id": "", "digest": b"", "stored": None}
        return asyncio.ensure_future(self.journal.ask(events.Submitted, **fields))

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def close(self) -> None:
        self.writer.cancel()
        await asyncio.gather(self.writer, return_exceptions=True)


async def test_answer_and_launch_wait_for_the_commit() -> None:
    house = House()
    answer = house.submit("t1")
    await house.settle()
    assert not answer.done()
    assert house.storage.order == ["commit of 1 began"]
    house.storage.permits.release()
    assert await answer == "t1"
    assert house.storage.order == ["commit of 1 began", "commit is durable", "Reply", "Launch", "Publish"]
    await house.close()


async def test_what_comes_during_a_commit_shares_the_next() -> None:
    house = House()
    first = house.submit("t1")
    await house.settle()
    others = [house.submit(f"t{number}") for number in range(2, 7)]
    await house.settle()
    house.storage.permits.release()
    await first
    assert not any(other.done() for other in others)
    house.storage.permits.release()
    assert await asyncio.gather(*others) == ["t2", "t3", "t4", "t5", "t6"]
    assert [line for line in house.storage.order if "began" in line] == ["commit of 1 began", "commit of 5 began"]
    await house.close()


async def test_a_caller_that_goes_away_cancels_nothing() -> None:
    house = House()
    answer = house.submit("t1")
    await house.settle()
    answer.cancel()
    await asyncio.gather(answer, return_exceptions=True)
    house.storage.permits.release()
    await house.settle()
    assert len(house.storage.batches) == 1
    assert "Launch" in house.storage.order
    await house.close()


async def test_a_store_that_fails_ends_the_writer_and_nothing_follows() -> None:
    house = House()
    house.storage.error = StoreUnavailable("sqlite:x", "the disk is gone")
    answer = house.submit("t1")
    house.storage.permits.release()
    with pytest.raises(StoreUnavailable):
        await house.writer
    assert not answer.done()
    assert house.storage.order == ["commit of 1 began"]
    answer.cancel()
    await asyncio.gather(answer, return_exceptions=True)
