"""The key layout: where in the store everything is. The only module that knows it.

    lease                        LeaseRecord      who may write
    heartbeat                    (empty)          its version changes for as long as who may write lives
    live/TASK                    (empty)          tasks that recovery has to look at
    task/TASK                    TaskRecord       everything about a task but its large parts
    input/TASK                   Payload
    result/TASK                  Payload
    checkpoint/TASK              Payload
    event/TASK/SEQUENCE          Event
    dead/TASK                    (empty)          dead letters
    request/REQUEST_ID           RequestRecord
    session/SESSION              SessionRecord
    item/SESSION/NUMBER          SessionItem
    collection/NAME              Collection
    vector/COLLECTION/RECORD     VectorRecord
    host/HOST                    HostRecord
    environment/NAME             Environment
    footprint/BEHAVIOUR          FootprintRecord

Task ids sort by time, so a scan of `task/` is in the order of submission. Numbers are eight bytes, big-endian, so that
they sort too. The names of sessions and collections may hold any character, so in `item/` and `vector/` they are
followed by a zero byte, which they may not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from google.protobuf.message import Message
from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import behaviour_pb2, memory_pb2, payload_pb2, session_pb2, task_pb2

LEASE: Final = b"lease"
HEARTBEAT: Final = b"heartbeat"
LIVE: Final = b"live/"
TASK: Final = b"task/"
DEAD: Final = b"dead/"
HOST: Final = b"host/"
ENVIRONMENT: Final = b"environment/"
FOOTPRINT: Final = b"footprint/"
SESSION: Final = b"session/"
COLLECTION: Final = b"collection/"
VECTOR: Final = b"vector/"


MESSAGES: Final[Mapping[str, type[Message] | None]] = MappingProxyType(
    {
        "lease": records_pb2.LeaseRecord,
        "heartbeat": None,
        "live": None,
        "task": records_pb2.TaskRecord,
        "input": payload_pb2.Payload,
        "result": payload_pb2.Payload,
        "checkpoint": payload_pb2.Payload,
        "event": task_pb2.Event,
        "dead": None,
        "request": records_pb2.RequestRecord,
        "session": records_pb2.SessionRecord,
        "item": session_pb2.SessionItem,
        "collection": memory_pb2.Collection,
        "vector": records_pb2.VectorRecord,
        "host": records_pb2.HostRecord,
        "environment": behaviour_pb2.Environment,
        "footprint": records_pb2.FootprintRecord,
    }
)
"""What every kind of key holds; None where the value is empty."""


@dataclass(frozen=True, slots=True)
class Place:
    """A key taken apart.

    Attributes:
        kind: its first part.
        name: of the task, the session, or whatever it is about; empty for lease and heartbeat.
        number: of the event or item; None for other kinds.
        record: name of the record in a collection; empty for other kinds.

    """

    kind: str
    name: str = ""
    number: int | None = None
    record: str = ""

    def __str__(self) -> str:
        """Return it for people: `event/TASK/3`."""
        number = "" if self.number is None else str(self.number)
        return "/".join(part for part in (self.kind, self.name, number, self.record) if part)


def place(key: bytes) -> Place:
    """Take a key apart.

    Raises:
        ValueError: it is none of this layout.

    """
    kind, slash, name = key.partition(b"/")
    if kind.decode() not in MESSAGES or bool(slash) == (kind in (LEASE, HEARTBEAT)):
        raise ValueError("is no key of the layout")
    if kind == b"vector":
        collection, zero, record = name.partition(b"\0")
        if not zero:
            raise ValueError("has no record")
        return Place(kind.decode(), collection.decode(), record=record.decode())
    if kind not in (b"event", b"item"):
        return Place(kind.decode(), name.decode())
    separator, number = name[-9:-8], name[-8:]
    if separator != {b"event": b"/", b"item": b"\0"}[kind]:
        raise ValueError("has no number")
    return Place(kind.decode(), name[:-9].decode(), int.from_bytes(number))


def live(task_id: str) -> bytes:
    """Return the key that marks a live task."""
    return LIVE + task_id.encode()


def task(task_id: str) -> bytes:
    """Return the key of a task's record."""
    return TASK + task_id.encode()


def input_of(task_id: str) -> bytes:
    """Return the key of a task's input."""
    return b"input/" + task_id.encode()


def result_of(task_id: str) -> bytes:
    """Return the key of a task's result."""
    return b"result/" + task_id.encode()


def checkpoint_of(task_id: str) -> bytes:
    """Return the key of a task's checkpoint."""
    return b"checkpoint/" + task_id.encode()


def events_of(task_id: str) -> bytes:
    """Return the prefix of a task's events."""
    return b"event/" + task_id.encode() + b"/"


def event(task_id: str, sequence: int) -> bytes:
    """Return the key of one event."""
    return events_of(task_id) + sequence.to_bytes(8)


def dead(task_id: str) -> bytes:
    """Return the key that marks a dead letter."""
    return DEAD + task_id.encode()


def all_of(record: records_pb2.TaskRecord) -> list[bytes]:
    """Return every key that a task may have."""
    task_id = record.task.id
    found = [task(task_id), input_of(task_id), result_of(task_id), checkpoint_of(task_id), live(task_id), dead(task_id)]
    found += [event(task_id, sequence) for sequence in range(1, record.task.last_sequence + 1)]
    return [*found, request(record.request_id)] if record.request_id else found


def request(request_id: str) -> bytes:
    """Return the key of a request id."""
    return b"request/" + request_id.encode()


def session(session_id: str) -> bytes:
    """Return the key of a session's record."""
    return SESSION + session_id.encode()


def items_of(session_id: str) -> bytes:
    """Return the prefix of a session's items."""
    return b"item/" + session_id.encode() + b"\0"


def item(session_id: str, number: int) -> bytes:
    """Return the key of one item of a session."""
    return items_of(session_id) + number.to_bytes(8)


def collection(name: str) -> bytes:
    """Return the key of a collection."""
    return COLLECTION + name.encode()


def vectors_of(name: str) -> bytes:
    """Return the prefix of a collection's records."""
    return VECTOR + name.encode() + b"\0"


def vector(name: str, record_id: str) -> bytes:
    """Return the key of one record of a collection."""
    return vectors_of(name) + record_id.encode()


def host(host_id: str) -> bytes:
    """Return the key of a host."""
    return HOST + host_id.encode()


def environment(name: str) -> bytes:
    """Return the key of an environment."""
    return ENVIRONMENT + name.encode()


def footprint(behaviour: str) -> bytes:
    """Return the key of what was learned of a behaviour."""
    return FOOTPRINT + behaviour.encode()
