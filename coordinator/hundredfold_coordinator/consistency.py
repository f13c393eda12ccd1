"""Whether what is in a store agrees with itself: every key of the layout, and every record that another one implies.

A check is a series of looks. Each reads what belongs together at one moment, so that it can be made while a coordinator
commits in between. What a backend itself is made of is the backend's business: see `SelfChecking`.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from google.protobuf.message import DecodeError, Message
from hundredfold.internal.v1 import records_pb2
from hundredfold.stores.contract import Entry, SelfChecking, Store

from hundredfold_coordinator import keys
from hundredfold_coordinator.core import lifecycle

Look = Callable[[Store], None]
_Generations = records_pb2.SessionRecord | records_pb2.CollectionRecord | records_pb2.DeletionRecord
_PAGE: Final = 50
"""Records read at once; each can be megabytes."""
_PROBLEMS: Final = 1000

_OWNERS: Final = {
    **dict.fromkeys(("live", "dead", "input", "result", "checkpoint", "event"), keys.task),
    "item": keys.session,
    "vector": keys.collection,
}
"""Kinds of records that mean nothing without the record of their task, session or collection."""
_TELL_GENERATIONS: Final[dict[str, type[_Generations]]] = {
    "session": records_pb2.SessionRecord,
    "collection": records_pb2.CollectionRecord,
    "deletion": records_pb2.DeletionRecord,
}
_DELETIONS: Final = {"item": keys.deletion_of_items, "vector": keys.deletion_of_vectors}
"""Those of them that may be there without it, where that is deleted and they are yet to be."""


class Check:
    """A check of a whole store: call every look of `looks()` with it.

    Attributes:
        counts: how many records of each kind there are.
        problems: what is wrong, a sentence for each; the first thousand of them.
        problem_count: how many there are.

    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self.problem_count = 0
        self._after = b""
        self._more = True

    def looks(self) -> Iterator[Look]:
        """Yield one look after the other; the next one depends on what the one before has found."""
        yield self._look_at_backend
        for look in (self._look_at_records, self._look_at_task, self._look_at_session):
            self._after, self._more = b"", True
            while self._more:
                yield look

    def _look_at_backend(self, store: Store) -> None:
        if isinstance(store, SelfChecking):
            for problem in store.check():
                self._note(problem)

    def _look_at_records(self, store: Store) -> None:
        """Take up to a page of records: each must be readable, and its owner must be there."""
        owned: list[keys.Place] = []
        for entry in self._next(store, b"", _PAGE):
            try:
                place = keys.place(entry.key)
                decode(entry, place)
            except (ValueError, DecodeError) as error:
                self._note(f"{entry.key!r} {error}")
                continue
            self.counts[place.kind] += 1
            if place.kind in _OWNERS:
                owned.append(place)
        for place in _orphans(store, owned):
            self._note(f"{place} is there without {keys.place(_OWNERS[place.kind](place.name))}")

    def _look_at_task(self, store: Store) -> None:
        """Take the next task: what its record implies must be there, and nothing else."""
        for entry in self._next(store, keys.TASK, 1):
            try:
                record = records_pb2.TaskRecord.FromString(entry.record.value)
            except DecodeError:
                return  # told above
            task_id = record.task.id
            if entry.key != keys.task(task_id):
                self._note(f"{keys.place(entry.key)} holds task {task_id!r}")
                return
            implied = _implied(record)
            for (key, wanted), found in zip(implied.items(), store.get(list(implied)), strict=True):
                if wanted is not None and wanted != (found is not None):
                    self._note(f"{keys.place(key)} is {'missing' if wanted else 'there and should not be'}")
            self._look_at_request(store, record)
            self._look_at_numbers(store, keys.events_of(task_id), record.task.last_sequence)

    def _look_at_request(self, store: Store, record: records_pb2.TaskRecord) -> None:
        if not record.request_id:
            return
        (found,) = store.get([keys.request(record.request_id)])
        owner = records_pb2.RequestRecord.FromString(found.value).task_id if found else "nothing"
        if owner != record.task.id:
            self._note(f"request/{record.request_id} names {owner} and not task {record.task.id}")

    def _look_at_session(self, store: Store) -> None:
        """Take the next session: it must have as many items as it says."""
        for entry in self._next(store, keys.session(""), 1):
            try:
                session = records_pb2.SessionRecord.FromString(entry.record.value)
            except DecodeError:
                return
            items = keys.items_of(keys.place(entry.key).name, session.generation)
            self._look_at_numbers(store, items, session.item_count)

    def _look_at_numbers(self, store: Store, prefix: bytes, last: int) -> None:
        """See that the records below a prefix are numbered from 1 to `last` without a gap."""
        wanted, after = 1, b""
        while entries := store.scan(prefix, after=after, limit=_PAGE):
            for entry in entries:
                place = keys.place(entry.key)
                if place.number != wanted:
                    self._note(f"{place} is there where number {wanted} should be")
                wanted = (place.number or 0) + 1
            after = entries[-1].key
        if wanted != last + 1:
            series = keys.place(prefix + bytes(8))
            self._note(f"{series.kind}/{series.name} ends at {wanted - 1} and not at {last}")

    def _next(self, store: Store, prefix: bytes, limit: int) -> list[Entry]:
        entries = store.scan(prefix, after=self._after, limit=limit)
        self._more = len(entries) == limit
        self._after = entries[-1].key if entries else b""
        return entries

    def _note(self, problem: str) -> None:
        self.problem_count += 1
        if len(self.problems) < _PROBLEMS:
            self.problems.append(problem)


def decode(entry: Entry, place: keys.Place) -> Message | None:
    """Return the message that a record holds; None for a kind that holds none.

    Raises:
        DecodeError: it holds something else.

    """
    kind = keys.MESSAGES[place.kind]
    if kind is None:
        if entry.record.value:
            raise DecodeError("holds something and should be empty")
        return None
    return kind.FromString(entry.record.value)


def _orphans(store: Store, owned: list[keys.Place]) -> Iterator[keys.Place]:
    """Yield what has neither an owner of its generation nor a deletion that is to take it away."""
    owners = {_OWNERS[place.kind](place.name) for place in owned}
    deletions = {_DELETIONS[place.kind](place.name) for place in owned if place.kind in _DELETIONS}
    wanted = [*owners, *deletions]
    generations = {
        key: _generation(key, record.value) for key, record in zip(wanted, store.get(wanted), strict=True) if record
    }
    for place in owned:
        kept = generations.get(_OWNERS[place.kind](place.name), -1)
        deleted = generations.get(_DELETIONS[place.kind](place.name), -1) if place.kind in _DELETIONS else -1
        if kept not in (None, place.generation) and deleted is not None and deleted < place.generation:
            yield place


def _generation(key: bytes, value: bytes) -> int | None:
    """Return the generation that a record tells, 0 of a task; None if it cannot be read, which is told elsewhere."""
    kind = _TELL_GENERATIONS.get(keys.place(key).kind)
    try:
        return kind.FromString(value).generation if kind else 0
    except DecodeError:
        return None


def _implied(record: records_pb2.TaskRecord) -> dict[bytes, bool | None]:
    """Return keys, and whether each must be there; None where it may."""
    task = record.task
    ended = task.state in lifecycle.ENDED
    succeeded = task.state == lifecycle.SUCCEEDED
    return {
        keys.live(task.id): not ended or bool(record.alive),
        keys.dead(task.id): bool(task.dead_letter_cause),
        keys.input_of(task.id): True,
        keys.result_of(task.id): succeeded,
        keys.checkpoint_of(task.id): False if succeeded else None,
    }
