"""What a commit comes to, worked out before anything is written; the same for every backend.

Pure: a backend reads the versions that the preconditions ask for, has the commit planned, and writes what has changed,
each key once. A backend may do without; the contract says what has to come out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hundredfold.stores.contract import ABSENT, ANY, Batch, Committed, Conflict, Record


@dataclass(frozen=True, slots=True)
class Plan:
    """The outcome of a commit.

    Attributes:
        results: what becomes of each batch.
        changes: what each written key has afterwards; None where it is deleted.
        version: the highest version given.

    """

    results: list[Committed | Conflict]
    changes: dict[bytes, Record | None]
    version: int


def asked_keys(batches: Iterable[Batch]) -> set[bytes]:
    """Return the keys whose versions the preconditions ask for."""
    return {write.key for batch in batches for write in batch.writes if write.expects != ANY}


def plan_commit(batches: Iterable[Batch], versions: Mapping[bytes, int], version: int) -> Plan:
    """Plan a commit.

    Args:
        batches: in their order; each sees what the ones before it write.
        versions: of `asked_keys`, as stored now; a key that is missing is absent.
        version: the highest one given so far.

    """
    changes: dict[bytes, Record | None] = {}
    results: list[Committed | Conflict] = []
    for batch in batches:
        wrong = _first_conflict(batch, versions, changes)
        if wrong is None:
            version += 1
            for write in batch.writes:
                changes[write.key] = None if write.value is None else Record(write.value, version)
        results.append(Committed(version) if wrong is None else Conflict(wrong))
    return Plan(results, changes, version)


def _first_conflict(
    batch: Batch, versions: Mapping[bytes, int], changes: Mapping[bytes, Record | None]
) -> bytes | None:
    for write in batch.writes:
        if write.expects == ANY:
            continue
        if write.key in changes:
            record = changes[write.key]
            found = record.version if record else ABSENT
        else:
            found = versions.get(write.key, ABSENT)
        if found != write.expects:
            return write.key
    return None
