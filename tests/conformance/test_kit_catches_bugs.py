"""A check that cannot fail is a defect: one store for each bug, and the check of the conformance kit that finds it."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from copy import deepcopy
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Final

import pytest
from hundredfold.errors import HundredfoldError, StoreUnavailable
from hundredfold.stores.contract import (
    ABSENT,
    ANY,
    Batch,
    Capabilities,
    Committed,
    Conflict,
    Entry,
    Guard,
    Record,
    Store,
    Write,
)
from hundredfold.stores.memory import MemoryStore
from hundredfold.stores.sqlite import SqliteStore
from hundredfold.testing.store import StoreConformance

Batches = Iterable[Batch]
Results = list[Committed | Conflict]
Check = Callable[..., None]


# Reading --------------------------------------------------------------------------------------------------------------


class LeavesMissingKeysOut(MemoryStore):
    def get(self, keys: Sequence[bytes]) -> list[Record | None]:
        return [record for record in super().get(keys) if record]


class SortsAsText(MemoryStore):
    def scan(self, prefix: bytes, *, after: bytes = b"", limit: int = 1000, reverse: bool = False) -> list[Entry]:
        return sorted(super().scan(prefix, after=after, limit=limit, reverse=reverse), key=lambda e: e.key.lower())


class LeavesThePrefixItselfOut(MemoryStore):
    def scan(self, prefix: bytes, *, after: bytes = b"", limit: int = 1000, reverse: bool = False) -> list[Entry]:
        return [e for e in super().scan(prefix, after=after, limit=limit, reverse=reverse) if e.key != prefix]


class DoesNotCarry(MemoryStore):
    def scan(self, prefix: bytes, *, after: bytes = b"", limit: int = 1000, reverse: bool = False) -> list[Entry]:
        if not prefix.endswith(b"\xff"):
            return super().scan(prefix, after=after, limit=limit, reverse=reverse)
        return [e for e in super().scan(b"", after=after, limit=limit, reverse=reverse) if e.key >= prefix]


class BeginsAtAfter(MemoryStore):
    def scan(self, prefix: bytes, *, after: bytes = b"", limit: int = 1000, reverse: bool = False) -> list[Entry]:
        first = [Entry(after, record) for record in self.get([after]) if record and after.startswith(prefix)]
        return first + super().scan(prefix, after=after, limit=limit, reverse=reverse)


class IgnoresAfterInReverse(MemoryStore):
    def scan(self, prefix: bytes, *, after: bytes = b"", limit: int = 1000, reverse: bool = False) -> list[Entry]:
        return super().scan(prefix, after=b"" if reverse else after, limit=limit, reverse=reverse)


class IgnoresTheLimit(MemoryStore):
    def scan(self, prefix: bytes, *, after: bytes = b"", limit: int = 1000, reverse: bool = False) -> list[Entry]:
        return super().scan(prefix, after=after, limit=limit + 1_000_000, reverse=reverse)


class LimitsBeforeItReverses(MemoryStore):
    def scan(self, prefix: bytes, *, after: bytes = b"", limit: int = 1000, reverse: bool = False) -> list[Entry]:
        if reverse and not after:
            return super().scan(prefix, limit=limit)[::-1]
        return super().scan(prefix, after=after, limit=limit, reverse=reverse)


class LosesOneBetweenPages(MemoryStore):
    def scan(self, prefix: bytes, *, after: bytes = b"", limit: int = 1000, reverse: bool = False) -> list[Entry]:
        return super().scan(prefix, after=after, limit=limit, reverse=reverse)[1 if after else 0 :]


# Single writes --------------------------------------------------------------------------------------------------------


class ChangesWrites(MemoryStore):
    def change(self, write: Write) -> Write:
        raise NotImplementedError

    def commit(self, batches: Batches, guard: Guard | None = None) -> Results:
        return super().commit([Batch([self.change(write) for write in batch.writes]) for batch in batches], guard)


class TakesEmptyForDeleted(ChangesWrites):
    def change(self, write: Write) -> Write:
        return replace(write, value=write.value or None)


class CutsLargeValues(ChangesWrites):
    def change(self, write: Write) -> Write:
        return replace(write, value=write.value and write.value[: 4 << 20])


class FoldsCase(ChangesWrites):
    def change(self, write: Write) -> Write:
        return replace(write, key=write.key.lower())


class TakesAnyForAbsent(ChangesWrites):
    def change(self, write: Write) -> Write:
        return replace(write, expects=ABSENT if write.expects == ANY else write.expects)


class IgnoresAbsent(ChangesWrites):
    def change(self, write: Write) -> Write:
        return replace(write, expects=ANY if write.expects == ABSENT else write.expects)


class IgnoresVersions(ChangesWrites):
    def change(self, write: Write) -> Write:
        return replace(write, expects=ANY if write.expects > ABSENT else write.expects)


class IgnoresPreconditionsOfDeletions(ChangesWrites):
    def change(self, write: Write) -> Write:
        return replace(write, expects=ANY) if write.value is None else write


# Batches --------------------------------------------------------------------------------------------------------------


class WritesUntilItConflicts(MemoryStore):
    def commit(self, batches: Batches, guard: Guard | None = None) -> Results:
        return [self._one_by_one(batch, guard) for batch in batches]

    def _one_by_one(self, batch: Batch, guard: Guard | None) -> Committed | Conflict:
        result: Committed | Conflict = Committed(1)
        for write in batch.writes:
            (result,) = super().commit([Batch([write])], guard)
            if isinstance(result, Conflict):
                break
        return result


class CutsLargeBatches(MemoryStore):
    def commit(self, batches: Batches, guard: Guard | None = None) -> Results:
        return super().commit([Batch(batch.writes[:500]) for batch in batches], guard)


class AbortsTheNeighbours(MemoryStore):
    def commit(self, batches: Batches, guard: Guard | None = None) -> Results:
        batches = list(batches)
        trial = MemoryStore.commit(deepcopy(self), batches, guard)
        conflicts: Results = [result for result in trial if isinstance(result, Conflict)]
        return conflicts[:1] * len(batches) or super().commit(batches, guard)


class BatchesAreBlind(MemoryStore):
    def commit(self, batches: Batches, guard: Guard | None = None) -> Results:
        before, results = deepcopy(self), Results()
        for batch in batches:
            results += MemoryStore.commit(deepcopy(before), [batch], guard)
            if isinstance(results[-1], Committed):
                results[-1:] = super().commit([unconditional(batch)])
        return results


class SeesItsOwnWrites(MemoryStore):
    def commit(self, batches: Batches, guard: Guard | None = None) -> Results:
        return [result for batch in batches for result in self._in_order(batch, guard)]

    def _in_order(self, batch: Batch, guard: Guard | None) -> Results:
        trial = deepcopy(self)
        results = [MemoryStore.commit(trial, [Batch([write])], guard)[0] for write in batch.writes]
        conflicts: Results = [result for result in results if isinstance(result, Conflict)]
        return conflicts[:1] or super().commit([unconditional(batch)], guard)


class FirstWriteWins(MemoryStore):
    def commit(self, batches: Batches, guard: Guard | None = None) -> Results:
        return super().commit([Batch(batch.writes[::-1]) for batch in batches], guard)


class WantsSomethingToDelete(MemoryStore):
    def commit(self, batches: Batches, guard: Guard | None = None) -> Results:
        batches = list(batches)
        for write in (write for batch in batches for write in batch.writes):
            if write.value is None and self.get([write.key]) == [None]:
                return [Conflict(write.key)] * len(batches)
        return super().commit(batches, guard)


def unconditional(batch: Batch) -> Batch:
    return Batch([replace(write, expects=ANY) for write in batch.writes])


# Versions and the guard -----------------------------------------------------------------------------------------------


class AnswersAnotherVersion(MemoryStore):
    def commit(self, batches: Batches, guard: Guard | None = None) -> Results:
        results = super().commit(batches, guard)
        return [Committed(r.version + 1000) if isinstance(r, Committed) else r for r in results]


class CountsFromWhatIsThere(MemoryStore):
    def commit(self, batches: Batches, guard: Guard | None = None) -> Results:
        self._version = max((entry.record.version for entry in self.scan(b"")), default=0)
        return super().commit(batches, guard)


class HasOneVersionPerCommit(MemoryStore):
    def commit(self, batches: Batches, guard: Guard | None = None) -> Results:
        results = super().commit(batches, guard)
        return [Committed(self._version) if isinstance(result, Committed) else result for result in results]


class LooksAtTheGuardForEachBatch(MemoryStore):
    def commit(self, batches: Batches, guard: Guard | None = None) -> Results:
        return [MemoryStore.commit(self, [batch], guard)[0] for batch in batches]


class IgnoresTheGuard(MemoryStore):
    def commit(self, batches: Batches, guard: Guard | None = None) -> Results:  # noqa: ARG002  # that is the bug
        return super().commit(batches)


class IgnoresAMissingGuard(MemoryStore):
    def commit(self, batches: Batches, guard: Guard | None = None) -> Results:
        return super().commit(batches, guard if guard and self.get([guard.key]) != [None] else None)


class WritesBeforeItLooksAtTheGuard(MemoryStore):
    def commit(self, batches: Batches, guard: Guard | None = None) -> Results:
        found = MemoryStore.commit(deepcopy(self), batches)
        super().commit(batches)
        super().commit([], guard)
        return found


# Closing and opening again --------------------------------------------------------------------------------------------


class ClosesOnce(MemoryStore):
    closed = False

    def close(self) -> None:
        if self.closed:
            raise StoreUnavailable(self.url, "it is closed")
        self.closed = True


class ForgetsEverything(MemoryStore):
    capabilities = Capabilities(durable=True, shared=False)


class CountsAgainWhenOpened(SqliteStore):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._version = max((entry.record.version for entry in self.scan(b"")), default=0)


class AcknowledgesTooEarly(SqliteStore):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._connection.execute("BEGIN")

    def close(self) -> None:
        self._connection.execute("COMMIT")
        super().close()


class WritesTheRestLater(SqliteStore):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._rest: list[Batch] = []

    def commit(self, batches: Batches, guard: Guard | None = None) -> Results:
        batches = list(batches)
        self._rest += [Batch(batch.writes[1:]) for batch in batches]
        return super().commit([Batch(batch.writes[:1]) for batch in batches], guard)

    def close(self) -> None:
        super().commit(self._rest)
        super().close()


class EarlyKit(StoreConformance):
    def open(self, directory: Path) -> Store:
        return AcknowledgesTooEarly(directory / "state.db")


class LateKit(StoreConformance):
    def open(self, directory: Path) -> Store:
        return WritesTheRestLater(directory / "state.db")


class CountingKit(StoreConformance):
    def open(self, directory: Path) -> Store:
        return CountsAgainWhenOpened(directory / "state.db")


# What finds what ------------------------------------------------------------------------------------------------------

KIT: Final = StoreConformance

IN_MEMORY: Final[dict[type[MemoryStore], Check]] = {
    LeavesMissingKeysOut: KIT.test_get_answers_in_the_order_of_its_keys,
    TakesEmptyForDeleted: KIT.test_values_come_back_as_they_were,
    CutsLargeValues: KIT.test_a_large_value_comes_back_as_it_was,
    FoldsCase: KIT.test_any_bytes_are_a_key,
    SortsAsText: KIT.test_scan_is_in_byte_order,
    LeavesThePrefixItselfOut: KIT.test_scan_returns_its_prefix_only,
    DoesNotCarry: KIT.test_scan_of_a_prefix_that_ends_in_ff,
    BeginsAtAfter: KIT.test_scan_begins_behind_after,
    IgnoresAfterInReverse: KIT.test_a_reverse_scan_begins_before_after,
    IgnoresTheLimit: KIT.test_scan_returns_as_many_as_it_may,
    LimitsBeforeItReverses: KIT.test_scan_returns_as_many_as_it_may,
    LosesOneBetweenPages: KIT.test_pages_have_no_gap_and_no_repetition,
    WritesUntilItConflicts: KIT.test_a_batch_is_all_or_nothing,
    CutsLargeBatches: KIT.test_a_large_batch_is_written_whole,
    AbortsTheNeighbours: KIT.test_batches_of_one_commit_do_not_harm_each_other,
    BatchesAreBlind: KIT.test_a_batch_sees_what_earlier_ones_wrote,
    SeesItsOwnWrites: KIT.test_preconditions_see_the_state_before_their_batch,
    FirstWriteWins: KIT.test_the_last_write_to_a_key_wins,
    WantsSomethingToDelete: KIT.test_nothing_to_write_is_fine,
    TakesAnyForAbsent: KIT.test_any_takes_whatever_is_there,
    IgnoresAbsent: KIT.test_absent_takes_a_key_that_is_not_there,
    IgnoresVersions: KIT.test_a_version_takes_that_version_only,
    IgnoresPreconditionsOfDeletions: KIT.test_a_version_takes_that_version_only,
    AnswersAnotherVersion: KIT.test_the_answer_tells_the_version,
    CountsFromWhatIsThere: KIT.test_versions_grow_and_are_never_reused,
    HasOneVersionPerCommit: KIT.test_batches_of_one_commit_have_versions_of_their_own,
    LooksAtTheGuardForEachBatch: KIT.test_a_guard_that_holds_lets_everything_through,
    IgnoresTheGuard: KIT.test_a_stale_guard_fences_everything,
    IgnoresAMissingGuard: KIT.test_a_stale_guard_fences_everything,
    WritesBeforeItLooksAtTheGuard: KIT.test_a_stale_guard_fences_everything,
    ClosesOnce: KIT.test_close_is_idempotent,
    ForgetsEverything: KIT.test_a_new_opening_finds_everything,
}

ON_DISK: Final[dict[type[StoreConformance], Check]] = {
    CountingKit: KIT.test_versions_go_on_after_a_new_opening,
    EarlyKit: KIT.test_what_was_acknowledged_outlives_sigkill,
    LateKit: KIT.test_what_was_acknowledged_outlives_sigkill,
}


@pytest.mark.parametrize(("broken", "check"), IN_MEMORY.items(), ids=lambda value: value.__name__)
def test_the_kit_finds_the_bug(broken: type[MemoryStore], check: Check, tmp_path: Path) -> None:
    class Kit(StoreConformance):
        def open(self, directory: Path) -> Store:  # noqa: ARG002  # it is in memory
            return broken()

    assert failure(Kit(), check, tmp_path)


@pytest.mark.parametrize(("kit", "check"), ON_DISK.items(), ids=lambda value: value.__name__)
def test_the_kit_finds_the_bug_on_disk(kit: type[StoreConformance], check: Check, tmp_path: Path) -> None:
    assert failure(kit(), check, tmp_path)


def test_every_check_is_seen_to_fail() -> None:
    checks = {check for name, check in vars(KIT).items() if name.startswith("test_")}
    assert checks == {*IN_MEMORY.values(), *ON_DISK.values()}


def failure(kit: StoreConformance, check: Check, directory: Path) -> str:
    try:
        if "store" in signature(check).parameters:
            with closing(kit.open(directory)) as store:
                check(kit, store)
        else:
            check(kit, directory)
    except pytest.skip.Exception:
        pytest.fail("the check was skipped, so it found nothing")
    except (AssertionError, HundredfoldError) as error:
        return str(error)
    return ""
