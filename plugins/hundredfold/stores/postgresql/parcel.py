"""A commit as the arrays that the function in the database takes: everything it needs, in one message.

Pure. The function looks at many batches at once, as long as no two of them touch the same key: such a run of batches is
a round. As a rule a commit is one round, whatever the number of its batches.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from hundredfold.stores.contract import Batch, Guard, Write

LOOK: Final = 0
"""Action of a write that a later one in its batch takes the place of: only its precondition counts."""

PUT: Final = 1
DELETE: Final = 2


@dataclass
class Parcel:
    """The writes of a commit, one after the other, and where its batches and rounds end; counted from 1.

    Attributes:
        batches: the batch of each write.
        keys: its key.
        values: its value; empty unless it is put.
        expected: its precondition.
        actions: `LOOK`, `PUT` or `DELETE`.
        last_batches: of each round.
        last_writes: of each round.

    """

    guard: Guard | None = None
    count: int = 0
    batches: list[int] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)
    expected: list[int] = field(default_factory=list)
    actions: list[int] = field(default_factory=list)
    last_batches: list[int] = field(default_factory=list)
    last_writes: list[int] = field(default_factory=list)


def pack(batches: Iterable[Batch], guard: Guard | None) -> Parcel:
    """Pack a commit."""
    parcel = Parcel(guard)
    touched: set[bytes] = set()
    for batch in batches:
        keys = {write.key for write in batch.writes}
        if not touched.isdisjoint(keys):
            _end_round(parcel)
            touched = set()
        touched |= keys
        parcel.count += 1
        _add(parcel, batch.writes)
    if parcel.count:
        _end_round(parcel)
    return parcel


def _add(parcel: Parcel, writes: Sequence[Write]) -> None:
    last = {write.key: place for place, write in enumerate(writes)}
    for place, write in enumerate(writes):
        action = LOOK if last[write.key] != place else DELETE if write.value is None else PUT
        parcel.batches.append(parcel.count)
        parcel.keys.append(write.key)
        parcel.values.append(write.value if action == PUT and write.value else b"")
        parcel.expected.append(write.expects)
        parcel.actions.append(action)


def _end_round(parcel: Parcel) -> None:
    parcel.last_batches.append(parcel.count)
    parcel.last_writes.append(len(parcel.keys))


def integers(numbers: Iterable[int]) -> str:
    """Return integers as PostgreSQL writes an array of them."""
    return "{" + ",".join(map(str, numbers)) + "}"
