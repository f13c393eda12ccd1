"""Shows what becomes of calls to a store whose server does not answer: commits wait, reads are refused, it is asked."""

import asyncio
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from hundredfold.errors import StoreUnavailable, StoreUnreachable
from hundredfold.stores.contract import Batch, Committed, Conflict, Guard, Record, Write
from hundredfold.stores.memory import MemoryStore
from hundredfold_coordinator import outage as outages
from hundredfold_coordinator.outage import Outage
from hundredfold_coordinator.storage import Storage


class Server(MemoryStore):
    """A store that can be away; what it was asked for is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.asked: list[str] = []

    def get(self, keys: Sequence[bytes]) -> list[Record | None]:
        self._answer("get")
        return super().get(keys)

    def commit(self, batches: Iterable[Batch], guard: Guard | None = None) -> list[Committed | Conflict]:
        self._answer("commit")
        return super().commit(batches, guard)

    def _answer(self, what: str) -> None:
        self.asked.append(what)
        if self.away:
            raise StoreUnreachable("server:", "no route", 2)


class World:
    """A storage on such a server, and what was told of its outages."""

    def __init__(self, patience_seconds: float = 0) -> None:
        self.server = Server()
        self.told: list[StoreUnreachable | None] = []
        self.failures: list[StoreUnavailable] = []
        self.outage = Outage(patience_seconds, self.failures.append)
        self.outage.watch(self.told.append)
        self.storage = Storage(outage=self.outage)

    async def open(self) -> None:
        await self.storage.open(lambda: self.server)
        self.outage.refuse_reads()
        self.keeper = asyncio.ensure_future(self.outage.run(self.storage.probe))

    async def close(self) -> None:
        self.keeper.cancel()
        await asyncio.gather(self.keeper, return_exceptions=True)
        await self.storage.close()

    def write(self, key: bytes) -> "asyncio.Future[list[Committed | Conflict]]":
        return asyncio.ensure_future(self.storage.commit([Batch([Write(key, b"1")])]))


@contextmanager
def fast(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(outages, "_FIRST_SECONDS", 0.001)
    monkeypatch.setattr(outages, "_LONGEST_SECONDS", 0.01)
    yield


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let nobody wait long."""
    with fast(monkeypatch):
        yield


async def eventually(check: object) -> None:
    async with asyncio.timeout(5):
        while not check():  # type: ignore[operator]  # a function
            await asyncio.sleep(0.001)


async def test_commits_wait_and_are_made_when_it_answers_again() -> None:
    world = World()
    await world.open()
    world.server.away = True
    first, second = world.write(b"a"), world.write(b"b")
    await eventually(lambda: world.server.asked.count("get") >= 3)
    assert not first.done()
    world.server.away = False
    results = await asyncio.gather(first, second)
    assert all(isinstance(one, Committed) for result in results for one in result)
    assert [entry.key for entry in world.server.scan(b"")] == [b"a", b"b"]
    assert [error and error.problem for error in world.told] == ["no route", None]
    await world.close()


async def test_the_one_that_was_not_answered_is_sent_again_before_any_other() -> None:
    """Or nobody could tell whether it had been made: seen red without the turn."""
    world, sent = World(), []
    await world.open()
    commit = world.server.commit

    def remember(batches: Iterable[Batch], guard: Guard | None = None) -> list[Committed | Conflict]:
        batches = list(batches)
        sent.append(batches[0].writes[0].key)
        return commit(batches, guard)

    world.server.commit = remember  # type: ignore[method-assign]  # that is how it remembers
    world.server.away = True
    first = world.write(b"a")
    await eventually(lambda: world.outage.stuck)
    others = [world.write(b"b"), world.write(b"c")]
    world.server.away = False
    await asyncio.gather(first, *others)
    assert sent == [b"a", b"a", b"b", b"c"]
    await world.close()


async def test_one_whose_caller_has_gone_is_sent_again_before_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that hangs up must not make it unknown what became of its commit: seen red without the shield."""
    world, sent = World(), []
    await world.open()
    commit, lost = world.server.commit, threading.Event()

    def lose_the_first(batches: Iterable[Batch], guard: Guard | None = None) -> list[Committed | Conflict]:
        batches = list(batches)
        sent.append(batches[0].writes[0].key)
        if len(sent) == 1:
            assert lost.wait(5)
            raise StoreUnreachable("server:", "its answer is lost", 1)
        return commit(batches, guard)

    monkeypatch.setattr(world.server, "commit", lose_the_first)
    first = world.write(b"a")
    await eventually(lambda: sent)
    first.cancel()
    second = world.write(b"b")
    lost.set()
    await second
    assert sent == [b"a", b"a", b"b"]
    assert first.cancelled()
    await world.close()


async def test_reads_are_refused_at_once_and_do_not_even_ask() -> None:
    world = World()
    await world.open()
    world.server.away = True
    with pytest.raises(StoreUnreachable):
        await world.storage.get([b"a"])
    assert world.outage.stuck
    before = len(world.server.asked)
    for read in (world.storage.get([b"a"]), world.storage.scan(b"a"), world.storage.look(lambda _store: 1)):
        with pytest.raises(StoreUnreachable):
            await read
    assert world.server.asked[before:].count("get") <= 3, "only to see whether it answers"
    world.server.away = False
    await eventually(lambda: not world.outage.stuck)
    assert await world.storage.get([b"a"]) == [None]
    await world.close()


async def test_who_stops_does_not_wait() -> None:
    world = World()
    await world.open()
    world.server.away = True
    waiting = world.write(b"a")
    await eventually(lambda: world.outage.stuck)
    world.outage.give_up()
    with pytest.raises(StoreUnreachable):
        await asyncio.wait_for(waiting, 5)
    await world.close()


async def test_patience_ends() -> None:
    world = World(patience_seconds=0.02)
    await world.open()
    world.server.away = True
    waiting = world.write(b"a")
    await eventually(lambda: world.failures)
    assert "has not answered for" in world.failures[0].problem
    world.outage.give_up()
    await asyncio.gather(waiting, return_exceptions=True)
    await world.close()


async def test_what_is_wrong_for_good_is_not_waited_for() -> None:
    world = World()
    await world.open()

    def broken(_batches: object, _guard: object = None) -> list[Committed | Conflict]:
        raise StoreUnavailable(url="server:", problem="wrong password")

    world.server.commit = broken  # type: ignore[assignment]  # it is broken
    with pytest.raises(StoreUnavailable, match="wrong password"):
        await world.write(b"a")
    assert world.told == []
    await world.close()


async def test_a_server_that_is_not_what_it_was_ends_the_waiting() -> None:
    """Emptied, say, or with another password: seen red when the keeper ended of it without a word."""
    world = World()
    await world.open()
    world.server.away = True
    waiting = world.write(b"a")
    await eventually(lambda: world.outage.stuck)

    def emptied(*_given: object) -> list[Record | None]:
        raise StoreUnavailable(url="server:", problem="it has lost what it had")

    world.server.get = world.server.commit = emptied  # type: ignore[assignment,method-assign]  # it is another one
    await eventually(lambda: world.failures)
    with pytest.raises(StoreUnavailable, match="lost what it had"):
        await asyncio.wait_for(waiting, 5)
    await world.close()


async def test_every_caller_is_told_by_an_error_of_its_own() -> None:
    """One for all would keep every caller's request alive as long as the outage lasts."""
    world = World()
    await world.open()
    world.server.away = True
    errors = []
    for _ in range(3):
        with pytest.raises(StoreUnreachable) as caught:
            await world.storage.get([b"a"])
        errors.append(caught.value)
    assert len({id(error) for error in errors}) == 3
    await world.close()


async def test_while_a_coordinator_starts_reads_wait() -> None:
    world = World()
    await world.storage.open(lambda: world.server)
    keeper = asyncio.ensure_future(world.outage.run(world.storage.probe))
    world.server.away = True
    reading = asyncio.ensure_future(world.storage.get([b"a"]))
    await eventually(lambda: world.server.asked.count("get") >= 3)
    assert not reading.done()
    world.server.away = False
    assert await asyncio.wait_for(reading, 5) == [None]
    keeper.cancel()
    await asyncio.gather(keeper, return_exceptions=True)
    await world.storage.close()
