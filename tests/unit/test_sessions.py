"""Shows that a session is written by one at a time, even if whoever wanted it written goes away."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hundredfold.internal.v1 import records_pb2
from hundredfold.stores.contract import Batch, Write
from hundredfold.stores.memory import MemoryStore
from hundredfold_coordinator import keys
from hundredfold_coordinator.sessions import Sessions
from hundredfold_coordinator.storage import Storage


@pytest.fixture
async def storage() -> AsyncIterator[Storage]:
    storage = Storage()
    await storage.open(MemoryStore)
    yield storage
    await storage.close()


async def test_who_goes_away_gives_its_turn_up_to_nobody_before_its_writes_are_durable(storage: Storage) -> None:
    sessions = Sessions(storage)
    begun, may_commit, versions = asyncio.Event(), asyncio.Event(), []

    async def write(session: records_pb2.SessionRecord) -> None:
        versions.append(session.version)
        begun.set()
        await may_commit.wait()
        session.version += 1
        await storage.commit([Batch([Write(keys.session("s"), session.SerializeToString())])])

    first = asyncio.ensure_future(sessions.write("s", write))
    await begun.wait()
    first.cancel()
    second = asyncio.ensure_future(sessions.write("s", write))
    for _ in range(5):
        await storage.get([b"x"])
    assert versions == [0], "the second one waits, or it would read what is about to change"
    may_commit.set()
    await second
    assert versions == [0, 1]
    assert (await sessions.record("s")).version == 2


async def test_those_of_another_session_do_not_wait(storage: Storage) -> None:
    sessions = Sessions(storage)
    never = asyncio.Event()

    async def hang(_session: records_pb2.SessionRecord) -> None:
        await never.wait()

    async def pass_by(session: records_pb2.SessionRecord) -> int:
        return session.version

    hanging = asyncio.ensure_future(sessions.write("s", hang))
    assert await sessions.write("t", pass_by) == 0
    never.set()
    await hanging
