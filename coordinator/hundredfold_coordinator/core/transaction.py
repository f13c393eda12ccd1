"""One decision in the making: what it writes, in one batch, and what it does after that.

A record that is touched several times is written once, at the end.
"""

from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hundredfold.errors import HundredfoldError
from hundredfold.internal.v1 import records_pb2
from hundredfold.stores.contract import ABSENT, ANY, Batch, Write
from hundredfold.v1 import task_pb2

from hundredfold_coordinator import keys
from hundredfold_coordinator.core.effects import Effect, Publish, Refuse, Reply

_NO_VALUE: Final = b""
_NANOS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Decision:
    """Writes, and effects that follow when they are durable."""

    batch: Batch
    effects: list[Effect]


class Transaction:
    """Collects a decision made at `now_ns`, which is `now` as messages have it."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns
        self.now = Timestamp(seconds=now_ns // _NANOS, nanos=now_ns % _NANOS)
        self._writes: list[Write] = []
        self._effects: list[Effect] = []
        self._touched: dict[str, records_pb2.TaskRecord] = {}
        self._published: set[str] = set()

    def put(self, key: bytes, message: Message | None = None, *, new: bool = False) -> None:
        """Write a message; `new` insists that the key is absent."""
        value = message.SerializeToString() if message else _NO_VALUE
        self._writes.append(Write(key, value, ABSENT if new else ANY))

    def delete(self, key: bytes) -> None:
        """Delete a key."""
        self._writes.append(Write(key, None))

    def touch(self, record: records_pb2.TaskRecord) -> None:
        """Write a task's record as it will be at the end of the decision."""
        self._touched[record.task.id] = record

    def tell(self, record: records_pb2.TaskRecord, event: task_pb2.Event) -> None:
        """Append an event to a task's history."""
        record.task.last_sequence += 1
        event.sequence = record.task.last_sequence
        event.time.CopyFrom(self.now)
        self.put(keys.event(record.task.id, event.sequence), event)
        self.touch(record)
        self._published.add(record.task.id)

    def then(self, effect: Effect) -> None:
        """Do something once all of this is durable."""
        self._effects.append(effect)

    def reply(self, to: object, value: object = None) -> None:
        """Answer whoever asked."""
        self.then(Reply(to, value))

    def refuse(self, to: object, error: HundredfoldError) -> None:
        """Answer whoever asked with an error."""
        self.then(Refuse(to, error))

    def decision(self) -> Decision:
        """Return what was collected."""
        for task_id, record in self._touched.items():
            self.put(keys.task(task_id), record)
        return Decision(Batch(self._writes), [*self._effects, *map(Publish, self._published)])
