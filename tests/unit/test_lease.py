"""Shows what a lease says of its holder, and for how long one that is silent is listened for."""

import time
from collections.abc import AsyncIterator
from typing import cast

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


class Slow:
    """A storage that takes seconds of a clock of its own to answer, of a holder that beats until it dies."""

    capabilities, url = Shared.capabilities, "slow:"

    def __init__(self, seconds: float, dies: float) -> None:
        self.now, self._seconds, self._dies = 0.0, seconds, dies
        self._lease = Record(records_pb2.LeaseRecord(epoch=1, holder=ELSEWHERE).SerializeToString(), 1)

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        assert self.now < 1000, "nobody ever takes over"

    async def get(self, _keys: object) -> list[Record | None]:
        beats = int(min(self.now, self._dies) * 3 / TERM)
        self.now += self._seconds
        return [self._lease, Record(b"", 2 + beats)]


TERM = 10.0


@pytest.mark.parametrize("answers_after", [0.0, 0.9, 1.5, 5.0])
async def test_one_that_is_dead_is_noticed_however_slow_the_store_is(answers_after: float) -> None:
    """Seen red: every read that took longer than a pause began the term anew, for ever."""
    slow = Slow(answers_after, dies=30)
    await await_vacancy(cast("Storage", slow), TERM, standby=True, clock=slow.clock, sleep=slow.sleep)
    listened = TERM * (1 + answers_after)  # of which a second of every pause
    assert 30 + TERM - TERM / 3 <= slow.now <= 30 + listened + 2 * (1 + answers_after)


async def test_time_in_which_the_store_was_away_is_nobodys_silence() -> None:
    slow = Slow(0.01, dies=1000)
    away = iter([0, 0, 60, 0, 60])

    async def sleep(seconds: float) -> None:
        slow._seconds = next(away, 0.01)
        await slow.sleep(seconds)
        if slow.now > 300:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        await await_vacancy(cast("Storage", slow), TERM, standby=True, clock=slow.clock, sleep=sleep)
