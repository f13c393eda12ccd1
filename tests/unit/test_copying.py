"""Shows that a copy of a store is whole, or is known not to be."""

from dataclasses import fields

import pytest
from google.protobuf import duration_pb2
from hundredfold.errors import CopyFailed, StoreEmpty, StoreInUse, StoreNotEmpty, StoreUnfinished
from hundredfold.internal.v1 import records_pb2
from hundredfold.stores.contract import Batch, Capabilities, Committed, Conflict, Write
from hundredfold.stores.memory import MemoryStore
from hundredfold_coordinator import keys
from hundredfold_coordinator.config import Config
from hundredfold_coordinator.copying import copy, is_unfinished, refuse_if_used


def filled(count: int = 1000) -> MemoryStore:
    store = MemoryStore()
    writes = [Write(b"task/%05d" % number, b"x" * (number % 50)) for number in range(count)]
    store.commit([Batch([*writes, Write(keys.LEASE, b"l"), Write(b"\xff\x00", b"\x00")])])
    return store


def contents(store: MemoryStore) -> dict[bytes, bytes]:
    return {entry.key: entry.record.value for entry in store.scan(b"", limit=1_000_000)}


def test_everything_is_there_and_nothing_else() -> None:
    source, target, told = filled(), MemoryStore(), []
    copied = copy(source, target, told.append)
    assert contents(target) == contents(source)
    assert copied.records == 1002
    assert told == sorted(told)
    assert told[-1] == 1002
    assert copy(target, MemoryStore()).digest == copied.digest


def test_large_values_are_copied_in_several_commits() -> None:
    source, target = MemoryStore(), MemoryStore()
    source.commit([Batch([Write(b"%d" % number, bytes([number]) * (1 << 20)) for number in range(10)])])
    assert copy(source, target).size_bytes == 10 * (1 << 20) + 10
    assert contents(target) == contents(source)


def test_the_life_of_a_coordinator_is_not_copied() -> None:
    source, target = filled(3), MemoryStore()
    source.commit([Batch([Write(keys.HEARTBEAT, b"")])])
    copy(source, target)
    assert target.get([keys.HEARTBEAT]) == [None]


def test_a_target_with_something_in_it_is_refused() -> None:
    target = filled(1)
    with pytest.raises(StoreNotEmpty):
        copy(filled(), target)
    assert len(contents(target)) == 3


class Interrupted(MemoryStore):
    """Fails at its third commit."""

    commits = 0

    def commit(self, batches: object, guard: object = None) -> list[Committed | Conflict]:
        self.commits += 1
        if self.commits == 3:
            raise KeyboardInterrupt
        return super().commit(batches, guard)  # type: ignore[arg-type]  # passed on


def test_what_was_interrupted_is_known_as_unfinished() -> None:
    target = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        copy(filled(), target)
    assert is_unfinished(target)
    with pytest.raises(StoreNotEmpty):
        copy(filled(), target)
    whole = MemoryStore()
    copy(filled(), whole)
    assert not is_unfinished(whole)


def test_half_a_copy_is_not_copied_on_as_if_it_were_whole() -> None:
    half, target = Interrupted(), MemoryStore()
    with pytest.raises(KeyboardInterrupt):
        copy(filled(), half)
    with pytest.raises(StoreUnfinished):
        copy(half, target)
    assert contents(target) == {}


def test_nothing_is_not_copied() -> None:
    """A misspelt namespace is an empty store, and its copy would be called done."""
    target = MemoryStore()
    with pytest.raises(StoreEmpty):
        copy(MemoryStore(), target)
    assert contents(target) == {}


class Forgetful(MemoryStore):
    """Loses one record."""

    def commit(self, batches: object, guard: object = None) -> list[Committed | Conflict]:
        kept = [Batch([one for one in batch.writes if one.key != b"task/00500"]) for batch in batches]  # type: ignore[attr-defined]
        return super().commit(kept, guard)  # type: ignore[arg-type]  # passed on


def test_a_record_that_is_missing_is_noticed() -> None:
    target = Forgetful()
    with pytest.raises(CopyFailed) as failed:
        copy(filled(), target)
    assert (failed.value.records, failed.value.copied) == (1002, 1001)
    assert is_unfinished(target)


class Shared(MemoryStore):
    """A store whose coordinator shows that it lives, if it does, whenever it is looked at."""

    capabilities = Capabilities(durable=True, shared=True)
    lives = True

    def get(self, wanted: object) -> list[object]:  # type: ignore[override]  # as it is
        if self.lives:
            self.commit([Batch([Write(keys.HEARTBEAT, b"")])])
        return super().get(wanted)  # type: ignore[return-value,arg-type]  # passed on


def shared(*, lives: bool, lease: bytes = b"") -> Shared:
    store = Shared()
    store.commit([Batch([Write(keys.HEARTBEAT, b""), Write(keys.LEASE, lease), Write(b"a", b"1")])])
    store.lives = lives
    return store


def test_a_store_that_is_in_use_is_refused() -> None:
    slept: list[float] = []
    with pytest.raises(StoreInUse):
        refuse_if_used(shared(lives=True), sleep=slept.append)
    assert len(slept) == 1, "as soon as it is heard"
    with pytest.raises(StoreNotEmpty):
        copy(filled(), shared(lives=True))


def test_a_store_is_listened_to_for_the_term_of_its_lease() -> None:
    slept: list[float] = []
    told: list[float] = []
    lease = records_pb2.LeaseRecord(term=duration_pb2.Duration(seconds=60)).SerializeToString()
    silent = shared(lives=False, lease=lease)
    refuse_if_used(silent, told.append, sleep=slept.append)
    assert told == [60]
    assert sum(slept) == pytest.approx(60)
    assert copy(silent, MemoryStore()).records == 2


def test_a_lease_without_a_term_has_the_default_one() -> None:
    slept: list[float] = []
    refuse_if_used(shared(lives=False), sleep=slept.append)
    (usual,) = (field.default for field in fields(Config) if field.name == "lease_seconds")
    assert sum(slept) == pytest.approx(usual)


def test_one_that_ends_meanwhile_is_heard_to() -> None:
    store, slept = shared(lives=False), list[float]()

    def end(seconds: float) -> None:
        slept.append(seconds)
        store.commit([Batch([Write(keys.HEARTBEAT, None)])])

    refuse_if_used(store, sleep=end)
    assert len(slept) == 1


def test_nobody_is_listened_for_where_nobody_can_be() -> None:
    def never(_seconds: float) -> None:
        raise AssertionError

    store = filled(3)
    store.commit([Batch([Write(keys.HEARTBEAT, b"")])])
    refuse_if_used(store, sleep=never)
    given_up = shared(lives=False)
    given_up.commit([Batch([Write(keys.HEARTBEAT, None)])])
    refuse_if_used(given_up, sleep=never)
