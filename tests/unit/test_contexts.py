"""Shows that an attempt is given its input, checkpoint and session, read ahead of time, whatever became of that."""

from collections.abc import AsyncIterator, Sequence

import pytest
from hundredfold.errors import StoreUnreachable
from hundredfold.internal.v1 import records_pb2
from hundredfold.stores.contract import Batch, Record, Write
from hundredfold.stores.memory import MemoryStore
from hundredfold.v1 import payload_pb2, policy_pb2, session_pb2, task_pb2
from hundredfold_coordinator import contexts as module
from hundredfold_coordinator import keys
from hundredfold_coordinator.contexts import Contexts
from hundredfold_coordinator.core.effects import Launch
from hundredfold_coordinator.core.state import Limits, State
from hundredfold_coordinator.inputs import RecentInputs
from hundredfold_coordinator.sessions import Sessions
from hundredfold_coordinator.storage import Storage

GIVEN, SAVED = payload_pb2.Payload(data=b"given"), payload_pb2.Payload(data=b"saved")


class CountedStorage(Storage):
    """Counts reads; the next `failing` of them fail."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.failing = 0

    async def get(self, keys: Sequence[bytes]) -> list[Record | None]:
        """See `Storage`."""
        self.reads += 1
        if self.failing:
            self.failing -= 1
            raise StoreUnreachable("there", "it is away", 1)
        return await super().get(keys)


class House:
    """A store in which every task has an input and a checkpoint, and what reads them."""

    def __init__(self, storage: CountedStorage) -> None:
        self.storage = storage
        self.state = State(Limits(), lambda: "secret", lambda: 1.0)
        self.inputs = RecentInputs()
        self.contexts = Contexts(self.state, storage, Sessions(storage), self.inputs)

    async def add(self, task_id: str, *, attempts: int = 1, session: str = "") -> task_pb2.Task:
        """Have a task whose newest attempt is being launched."""
        record = records_pb2.TaskRecord()
        record.task.id, record.task.spec.session = task_id, session
        for _ in range(attempts):
            record.task.attempts.add()
        self.state.tasks[task_id] = record
        writes = [(keys.input_of(task_id), GIVEN), (keys.checkpoint_of(task_id), SAVED)]
        await self.storage.commit([Batch([Write(key, one.SerializeToString()) for key, one in writes])])
        self.state.alive[task_id, attempts] = "host"
        return record.task

    def launch(self, task: task_pb2.Task) -> tuple[str, int]:
        attempt = task.id, len(task.attempts)
        limits = policy_pb2.Limits()
        self.contexts.prepare(Launch("host", attempt, "default", "b", "c", limits, 1, 0, 0, evictable=False))
        return attempt


@pytest.fixture
async def house() -> AsyncIterator[House]:
    storage = CountedStorage()
    await storage.open(MemoryStore)
    yield House(storage)
    await storage.close()


async def test_a_later_attempt_is_given_what_was_read_when_it_was_launched(house: House) -> None:
    task = await house.add("t", attempts=2)
    attempt = house.launch(task)
    assert await house.contexts.take(attempt, task) == (GIVEN, SAVED, None)
    assert house.storage.reads == 1
    assert await house.contexts.take(attempt, task) == (GIVEN, SAVED, None), "who asks again is told again"


async def test_a_first_attempt_has_its_input_at_hand(house: House) -> None:
    task = await house.add("t")
    house.inputs.keep("t", GIVEN)
    attempt = house.launch(task)
    assert await house.contexts.take(attempt, task) == (GIVEN, None, None)
    assert house.storage.reads == 0
    assert await house.contexts.take(attempt, task) == (GIVEN, SAVED, None), "from the store"


async def test_it_is_given_its_session(house: House) -> None:
    session = records_pb2.SessionRecord(version=3, state={"a": b"1"})
    await house.storage.commit([Batch([Write(keys.session("s"), session.SerializeToString())])])
    task = await house.add("t", session="s")
    given = await house.contexts.take(house.launch(task), task)
    assert given[2] == session_pb2.Session(id="s", version=3, state={"a": b"1"})


async def test_what_could_not_be_read_ahead_of_time_is_read_when_it_is_taken(house: House) -> None:
    """The store may answer again by then; or the attempt would fail for what is over."""
    task = await house.add("t", attempts=2)
    house.storage.failing = 1
    attempt = house.launch(task)
    while house.storage.failing:
        await house.storage.scan(b"x")
    assert await house.contexts.take(attempt, task) == (GIVEN, SAVED, None)


async def test_what_cannot_be_read_when_it_is_taken_is_an_error_and_read_when_it_is_asked_for_again(
    house: House,
) -> None:
    task = await house.add("t", attempts=2)
    house.storage.failing = 1
    attempt = house.launch(task)
    with pytest.raises(StoreUnreachable):
        await house.contexts.take(attempt, task)
    assert await house.contexts.take(attempt, task) == (GIVEN, SAVED, None)


async def test_what_was_read_for_attempts_that_have_died_is_forgotten(house: House) -> None:
    """Or a coordinator whose workers die before they ask would grow for ever."""
    for number in range(3 * module._SLACK):
        task = await house.add(f"t{number}", attempts=2)
        attempt = house.launch(task)
        if number:
            del house.state.alive[attempt]
    assert len(house.contexts._reading) <= module._SLACK + 2
    reads = house.storage.reads
    task = house.state.tasks["t0"].task
    assert await house.contexts.take(("t0", 2), task) == (GIVEN, SAVED, None)
    assert house.storage.reads == reads, "and what is alive is not"
