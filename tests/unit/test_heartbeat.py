"""Shows that whoever has the lease is heard of for as long as it lives, whatever becomes of a beat, and not longer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

import pytest
from hundredfold.errors import Fenced, HundredfoldError, StoreFull, StoreUnreachable
from hundredfold.stores.contract import Batch, Committed, Conflict, Guard, Write
from hundredfold.stores.memory import MemoryStore
from hundredfold_coordinator import keys
from hundredfold_coordinator.heartbeat import Heartbeat

TERM = 0.03


class Server(MemoryStore):
    """A store that refuses commits with the errors it is given, one after the other, and counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[HundredfoldError] = []
        self.commits = 0

    def commit(self, batches: Iterable[Batch], guard: Guard | None = None) -> list[Committed | Conflict]:
        self.commits += 1
        if self.errors:
            raise self.errors.pop(0)
        return super().commit(batches, guard)


class World:
    """A heart that beats on such a server, and what was told of it."""

    def __init__(self) -> None:
        self.server = Server()
        self.told: list[StoreUnreachable] = []
        self.failures: list[HundredfoldError] = []
        self.heartbeat = Heartbeat(TERM, 0, self.told.append, self.failures.append)

    def beat(self) -> int:
        """Return the version of the last beat; 0 if there is none."""
        (found,) = self.server.get([keys.HEARTBEAT])
        return found.version if found else 0

    async def begin(self) -> None:
        (lease,) = self.server.commit([Batch([Write(keys.LEASE, b"")])])
        assert isinstance(lease, Committed)
        await self.heartbeat.open(lambda: self.server)
        self.heartbeat.begin(Guard(keys.LEASE, lease.version))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.heartbeat.close()


async def soon(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_so():
            await asyncio.sleep(TERM / 10)


async def test_it_beats_until_it_ends(world: World) -> None:
    await world.begin()
    await soon(lambda: world.beat() > 0)
    first = world.beat()
    await soon(lambda: world.beat() > first)
    await world.heartbeat.end()
    made = world.server.commits
    assert world.beat() == 0, "nobody has the lease"
    await asyncio.sleep(2 * TERM)
    assert world.server.commits == made


@pytest.mark.parametrize("error", [StoreUnreachable("server:", "no route", 2), StoreFull(5)], ids=["away", "full"])
async def test_a_beat_that_was_not_made_is_tried_again(world: World, error: HundredfoldError) -> None:
    await world.begin()
    world.server.errors = [error, error]
    await soon(lambda: not world.server.errors and world.beat() > 0)
    assert world.told == [error, error] * isinstance(error, StoreUnreachable)
    assert world.failures == []


async def test_who_has_lost_the_lease_is_told(world: World) -> None:
    await world.begin()
    world.server.commit([Batch([Write(keys.LEASE, b"another one's")])])
    await soon(lambda: bool(world.failures))
    assert isinstance(world.failures[0], Fenced)


async def test_an_end_that_cannot_be_said_is_not_waited_for(world: World) -> None:
    await world.begin()
    world.server.errors = [StoreUnreachable("server:", "no route", 2)] * 1000
    await asyncio.wait_for(world.heartbeat.end(), 5)
