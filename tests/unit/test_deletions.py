"""Shows that what is deleted is gone at once and for ever, whenever the coordinator that deletes it ends."""

import asyncio
from array import array
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import pytest
from hundredfold.errors import StoreUnavailable, UnknownCollection
from hundredfold.internal.v1 import records_pb2
from hundredfold.stores.contract import Batch, Committed, Conflict, Guard, Write
from hundredfold.stores.memory import MemoryStore
from hundredfold.v1 import memory_pb2, session_pb2
from hundredfold_coordinator import keys
from hundredfold_coordinator.consistency import Check
from hundredfold_coordinator.core import events
from hundredfold_coordinator.core.effects import Effect, Reply
from hundredfold_coordinator.core.state import Limits, State
from hundredfold_coordinator.deletions import PAGE, Deletions
from hundredfold_coordinator.journal import Journal
from hundredfold_coordinator.memory import Memory, extract
from hundredfold_coordinator.sessions import Sessions
from hundredfold_coordinator.storage import Storage

MANY = 3 * PAGE


class Power(MemoryStore):
    """A store whose coordinator can be made to end before a commit; `largest` is the largest there was."""

    def __init__(self) -> None:
        super().__init__()
        self.commits_left = 1_000_000
        self.largest = 0

    def commit(self, batches: Iterable[Batch], guard: Guard | None = None) -> list[Committed | Conflict]:
        batches = list(batches)
        self.commits_left -= 1
        if self.commits_left < 0:
            raise StoreUnavailable(self.url, "the power is gone")
        self.largest = max(self.largest, sum(len(batch.writes) for batch in batches))
        return super().commit(batches, guard)


async def _any_embedder(_name: str) -> None:
    """Find nothing wrong."""


class House:
    """What deletes, and what is deleted, in a coordinator that has opened a store."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.sessions, self.memory = Sessions(storage), Memory(storage, _any_embedder)
        self.deletions = Deletions(storage, self.memory.settled)
        self.state = State(Limits(), lambda: "secret", lambda: 1.0)
        self.journal = Journal(self.state, storage, self._perform)

    def _perform(self, effect: Effect) -> None:
        assert isinstance(effect, Reply)
        assert isinstance(effect.to, asyncio.Future)
        effect.to.set_result(effect.value)

    async def append(self, name: str, texts: Iterable[str]) -> None:
        items = [session_pb2.SessionItem(role="user", content=text.encode()) for text in texts]
        writes = session_pb2.SessionWrites(append=items, merge=True)

        async def write(session: records_pb2.SessionRecord) -> None:
            nobody = records_pb2.SessionRequest()
            fields = {"session_id": name, "session": session, "writes": writes, "request": nobody}
            await self.journal.ask(events.SessionWritten, **fields)

        await self.sessions.write(name, write)

    async def texts(self, name: str) -> list[str]:
        return [item.content.decode() for item in (await self.sessions.read(name, 0, 10_000)).items]

    async def delete_session(self, name: str) -> None:
        async def delete(session: records_pb2.SessionRecord) -> None:
            await self.journal.ask(events.SessionDeleted, session_id=name, session=session)

        await self.sessions.write(name, delete)

    async def make(self, name: str, ids: Iterable[str], dimension: int = 1) -> None:
        await self.memory.create(memory_pb2.Collection(name=name, dimension=dimension))
        await self.memory.writing(self.upsert(name, ids, dimension))

    async def upsert(self, name: str, ids: Iterable[str], dimension: int = 1) -> None:
        upsert = [memory_pb2.MemoryRecord(id=one, vector=[1.0] * dimension) for one in ids]
        records = await self.memory.records("writes", memory_pb2.MemoryWrites(collection=name, upsert=upsert))
        await self.storage.commit([Batch([Write(key, one and one.SerializeToString()) for key, one in records])])

    async def found(self, name: str, dimension: int = 1) -> list[str]:
        query = memory_pb2.MemoryQuery(collection=name, vector=[1.0] * dimension, limit=1000)
        return sorted(match.record.id for match in await self.memory.search(query))


@asynccontextmanager
async def opened(store: MemoryStore) -> AsyncIterator[House]:
    """Open a store as a coordinator does; what a coordinator had in mind that had it before is lost."""
    storage = Storage()
    await storage.open(lambda: store)
    await storage.index(keys.VECTOR, extract)
    house = House(storage)
    house.state.deleted_version = await house.sessions.deleted_version()
    writer = asyncio.ensure_future(house.journal.run())
    yield house
    house.journal.stop()
    await writer
    await storage.close()


@asynccontextmanager
async def ending_within(store: Power, commits: int) -> AsyncIterator[None]:
    """Let the coordinator end before one of its commits."""
    store.commits_left = commits
    with pytest.raises(StoreUnavailable):
        yield
    store.commits_left = 1_000_000


def problems(store: MemoryStore) -> list[str]:
    check = Check()
    for look in check.looks():
        look(store)
    return check.problems


def rest(store: MemoryStore) -> int:
    return len(store.scan(b"item/")) + len(store.scan(keys.VECTOR)) + len(store.scan(keys.DELETION))


@pytest.fixture
def store() -> Power:
    return Power()


@pytest.mark.parametrize("commits", [0, 1, 2, 3])
async def test_a_session_is_gone_at_once_and_its_items_whatever_happens(store: Power, commits: int) -> None:
    async with opened(store) as house:
        await house.append("talk", map(str, range(MANY)))
        await house.append("talk/2", ["neighbour"])
        store.largest = 0
        await house.delete_session("talk")
        assert store.largest == 3
        assert (await house.sessions.record("talk")).version == 0
        assert await house.sessions.find("talk", "1", "", 5) == []
        assert (await house.sessions.context("talk")).item_count == 0
        async with ending_within(store, commits):
            await house.deletions.finish()
        assert rest(store) == MANY + 2 - commits * PAGE
        assert problems(store) == []
    async with opened(store) as house:
        assert await house.texts("talk") == []
        await house.append("talk", ["new"])
        assert problems(store) == []
        await house.deletions.finish()
        assert (await house.texts("talk"), await house.texts("talk/2")) == (["new"], ["neighbour"])
        assert (await house.sessions.read("talk", 0, 10)).items[0].number == 1
    assert (rest(store), store.largest, problems(store)) == (2, PAGE, [])


@pytest.mark.parametrize("commits", [0, 1, 2, 3])
async def test_a_collection_is_gone_at_once_and_its_records_whatever_happens(store: Power, commits: int) -> None:
    async with opened(store) as house:
        await house.make("facts", map(str, range(MANY)))
        await house.make("facts/2", ["neighbour"])
        store.largest = 0
        await house.memory.delete("facts")
        assert store.largest == 2
        with pytest.raises(UnknownCollection):
            await house.found("facts")
        async with ending_within(store, commits):
            await house.deletions.finish()
        assert rest(store) == MANY + 2 - commits * PAGE
        assert problems(store) == []
    async with opened(store) as house:
        assert [collection.name for collection in await house.memory.all()] == ["facts/2"]
        await house.make("facts", ["1", "new"])
        assert await house.found("facts") == ["1", "new"]
        assert problems(store) == []
        await house.deletions.finish()
        assert (await house.found("facts"), await house.found("facts/2")) == (["1", "new"], ["neighbour"])
    assert (rest(store), store.largest, problems(store)) == (3, PAGE, [])


async def test_no_version_comes_again_whatever_is_deleted_and_started_meanwhile(store: Power) -> None:
    seen: list[int] = []
    for _ in range(3):
        async with opened(store) as house:
            for _ in range(3):
                await house.append("s", ["x"])
                seen.append((await house.sessions.record("s")).version)
            await house.delete_session("s")
            await house.deletions.finish()
    assert seen == list(range(1, 10))
    assert problems(store) == []


async def test_many_of_one_name_are_deleted_one_after_the_other(store: Power) -> None:
    async with opened(store) as house:
        for number in range(3):
            await house.append("s", [f"{number}", "x"])
            await house.make("c", [f"{number}"], dimension=number + 1)
            assert (await house.texts("s"), await house.found("c", number + 1)) == ([f"{number}", "x"], [f"{number}"])
            await house.delete_session("s")
            await house.memory.delete("c")
        assert problems(store) == []
        assert rest(store) == 6 + 3 + 2
        await house.deletions.finish()
        assert (rest(store), problems(store)) == (0, [])
        await house.append("s", ["last"])
        assert await house.texts("s") == ["last"]


async def test_a_deletion_that_comes_while_another_is_finished_is_finished_too(store: Power) -> None:
    async with opened(store) as house:
        await house.append("s", map(str, range(2 * PAGE)))
        await house.delete_session("s")
        finishing = asyncio.ensure_future(house.deletions.finish())
        while len(store.scan(b"item/")) == 2 * PAGE:
            await asyncio.sleep(0)
        await house.append("s", ["second"])
        await house.delete_session("s")
        await house.append("s", ["third"])
        await finishing
        await house.deletions.finish()
        assert (await house.texts("s"), rest(store), problems(store)) == (["third"], 1, [])


async def test_what_is_being_written_to_a_deleted_collection_goes_with_it(store: Power) -> None:
    """Or it would be found in the next one of its name."""
    async with opened(store) as house:
        await house.make("facts", ["old"])
        looked_up, may_write = asyncio.Event(), asyncio.Event()

        async def write() -> None:
            upsert = [memory_pb2.MemoryRecord(id="late", vector=array("f", [1.0]))]
            writes = memory_pb2.MemoryWrites(collection="facts", upsert=upsert)
            records = await house.memory.records("writes", writes)
            looked_up.set()
            await may_write.wait()
            await house.storage.commit([Batch([Write(key, one and one.SerializeToString()) for key, one in records])])

        caller = asyncio.ensure_future(house.memory.writing(write()))
        await looked_up.wait()
        caller.cancel()  # who goes away has written nevertheless
        await house.memory.delete("facts")
        finishing = asyncio.ensure_future(house.deletions.finish())
        for _ in range(20):
            await house.storage.get([b"x"])
        assert not finishing.done()
        may_write.set()
        await finishing
        await house.make("facts", ["new"])
        assert (await house.found("facts"), rest(store), problems(store)) == (["new"], 1, [])


async def test_it_begins_by_itself_and_whenever_it_is_told(store: Power) -> None:
    async with opened(store) as house:
        await house.append("before", ["x"])
        await house.delete_session("before")
        keeper = asyncio.ensure_future(house.deletions.run())
        await _until(lambda: rest(store) == 0)
        await house.append("after", ["x"])
        await house.delete_session("after")
        house.deletions.begin()
        await _until(lambda: rest(store) == 0)
        keeper.cancel()


async def _until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not done():
            await asyncio.sleep(0)
