"""Shows what a lease says of its holder, and for how long one that is silent is listened for."""

import time
from collections.abc import AsyncIterator

import pytest
from hundredfold.internal.v1 import records_pb2
from hundredfold.stores.contract import Batch, Capabilities, Record, Write
from hundredfold.stores.memory import MemoryStore
from hundredfold_coordinator import keys
from hundredfold_coordinator.lease import await_vacancy, take_lease, term_of
from hundredfold_coordinator.storage import Storage

ELSEWHERE = records_pb2.ProcessIdentity(pid=1, boot_id="another machine's")


class Shared(MemoryStore):
    """A store that several coordinators may open."""

    capabilities = Capabilities(durable=True, shared=True)


@pytest.fixture
async def storage() -> AsyncIterator[Storage]:
    storage = Storage()
    await storage.open(Shared)
    yield storage
    await storage.close()


async def found(storage: Storage) -> Record:
    (lease,) = await storage.get([keys.LEASE])
    assert lease
    return lease


async def test_a_lease_says_for_how_long_its_holder_may_be_silent(storage: Storage) -> None:
    assert await take_lease(storage, ELSEWHERE, 12.5) == 1
    assert term_of(await found(storage)) == 12.5
    assert await take_lease(storage, ELSEWHERE, 0.3) == 2
    assert term_of(await found(storage)) == 0.3


async def test_one_of_before_that_was_recorded_says_nothing(storage: Storage) -> None:
    old = records_pb2.LeaseRecord(epoch=7, holder=ELSEWHERE)
    await storage.commit([Batch([Write(keys.LEASE, old.SerializeToString()), Write(keys.HEARTBEAT, b"")])])
    assert term_of(await found(storage)) == 0
    await await_vacancy(storage, 0.05, standby=False)
    assert await take_lease(storage, ELSEWHERE, 1) == 8


@pytest.mark.parametrize(("own", "recorded"), [(0.05, 0.4), (0.4, 0.05)])
async def test_the_longer_of_two_terms_is_waited_for(storage: Storage, own: float, recorded: float) -> None:
    await take_lease(storage, ELSEWHERE, recorded)
    began = time.monotonic()
    await await_vacancy(storage, own, standby=True)
    assert time.monotonic() - began > 0.4
