"""The key layout: where in the store everything is. The only module that knows it.

    lease                                LeaseRecord       who may write
    heartbeat                            (empty)           its version changes for as long as who may write lives
    unfinished                           (empty)           a copy into this store has begun, and has not ended
    version                              VersionRecord     the highest version that a deleted session had
    live/TASK                            (empty)           tasks that recovery has to look at
    task/TASK                            TaskRecord        everything about a task but its large parts
    input/TASK                           Payload
    result/TASK                          Payload
    checkpoint/TASK                      Payload
    event/TASK/SEQUENCE                  Event
    dead/TASK                            (empty)           dead letters
    request/REQUEST_ID                   RequestRecord
    session/SESSION                      SessionRecord
    item/SESSION/GENERATION/NUMBER       SessionItem
    collection/NAME                      CollectionRecord
    vector/COLLECTION/GENERATION/RECORD  VectorRecord
    deletion/item/SESSION                DeletionRecord    a session is deleted, and its items are not all gone
    deletion/vector/COLLECTION           DeletionRecord    a collection is deleted, and its records are not all gone
    drop/TASK                            DropRecord        its agent is gone, and who waited for that is not
    host/HOST                            HostRecord
    environment/NAME                     Environment
    footprint/BEHAVIOUR                  FootprintRecord

Task ids sort by time, so a scan of `task/` is in the order of submission. Numbers are eight bytes, big-endian, so that
they sort too. The names of sessions and collections may hold any character, so in `item/` and `vector/` they are
followed by a zero byte, which they may not, and then by their generation: a session or a collection has another one
than a deleted one of its name of which something is left, so that they never share a key.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from google.protobuf.message import Message
from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import behaviour_pb2, payload_pb2, session_pb2, task_pb2

LEASE: Final = b"lease"
HEARTBEAT: Final = b"heartbeat"
UNFINISHED: Final = b"unfinished"
VERSION: Final = b"version"
LIVE: Final = b"live/"
TASK: Final = b"task/"
DEAD: Final = b"dead/"
HOST: Final = b"host/"
ENVIRONMENT: Final = b"environment/"
FOOTPRINT: Final = b"footprint/"
SESSION: Final = b"session/"
COLLECTION: Final = b"collection/"
VECTOR: Final = b"vector/"
DELETION: Final = b"deletion/"
DROP: Final = b"drop/"
_ITEM: Final = b"item/"
_NUMBER_BYTES: Final = 8


MESSAGES: Final[Mapping[str, type[Message] | None]] = MappingProxyType(
    {
        "lease": records_pb2.LeaseRecord,
        "heartbeat": None,
        "unfinished": None,
        "version": records_pb2.VersionRecord,
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
        "collection": records_pb2.CollectionRecord,
        "vector": records_pb2.VectorRecord,
        "deletion": records_pb2.DeletionRecord,
        "drop": records_pb2.DropRecord,
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
        name: of the task, the session, or whatever it is about; empty for keys that are whole.
        generation: of the session or collection that an item or a record is of; 0 for other kinds.
        number: of the event or item; None for other kinds.
        record: name of the record in a collection; empty for other kinds.

    """

    kind: str
    name: str = ""
    generation: int = 0
    number: int | None = None
    record: str = ""

    def __str__(self) -> str:
        """Return it for people: `event/TASK/3`."""
        generation = f"generation {self.generation}" if self.generation else ""
        number = "" if self.number is None else str(self.number)
        return "/".join(part for part in (self.kind, self.name, generation, number, self.record) if part)


def place(key: bytes) -> Place:
    """Take a key apart.

    Raises:
        ValueError: it is none of this layout.

    """
    kind, slash, name = key.partition(b"/")
    if kind.decode() not in MESSAGES or bool(slash) == (kind in (LEASE, HEARTBEAT, UNFINISHED, VERSION)):
        raise ValueError("is no key of the layout")
    if kind in (b"item", b"vector"):
        return _place_of_part(kind, name)
    if kind == b"deletion" and not name.startswith((_ITEM, VECTOR)):
        raise ValueError("deletes nothing of the layout")
    if kind != b"event":
        return Place(kind.decode(), name.decode())
    if name[-9:-8] != b"/":
        raise ValueError("has no number")
    return Place(kind.decode(), name[:-9].decode(), number=int.from_bytes(name[-8:]))


def _place_of_part(kind: bytes, name: bytes) -> Place:
    owner, _, rest = name.partition(b"\0")
    generation, last = rest[:_NUMBER_BYTES], rest[_NUMBER_BYTES:]
    if not last:
        raise ValueError("has no generation, or nothing of one")
    place = Place(kind.decode(), owner.decode(), int.from_bytes(generation))
    if kind == b"vector":
        return replace(place, record=last.decode())
    if len(last) != _NUMBER_BYTES:
        raise ValueError("has no number")
    return replace(place, number=int.from_bytes(last))


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


def drop(task_id: str) -> bytes:
    """Return the key of what is known of an agent that is gone; it was made for this task."""
    return DROP + task_id.encode()


def request(request_id: str) -> bytes:
    """Return the key of a request id."""
    return b"request/" + request_id.encode()


def session(session_id: str) -> bytes:
    """Return the key of a session's record."""
    return SESSION + session_id.encode()


def items_of(session_id: str, generation: int) -> bytes:
    """Return the prefix of a session's items."""
    return _ITEM + session_id.encode() + b"\0" + generation.to_bytes(_NUMBER_BYTES)


def item(session_id: str, generation: int, number: int) -> bytes:
    """Return the key of one item of a session."""
    return items_of(session_id, generation) + number.to_bytes(_NUMBER_BYTES)


def collection(name: str) -> bytes:
    """Return the key of a collection."""
    return COLLECTION + name.encode()


def vector(name: str, generation: int, record_id: str) -> bytes:
    """Return the key of one record of a collection."""
    return VECTOR + name.encode() + b"\0" + generation.to_bytes(_NUMBER_BYTES) + record_id.encode()


def deletion_of_items(session_id: str) -> bytes:
    """Return the key that says that items of a deleted session may be left."""
    return DELETION + _ITEM + session_id.encode()


def deletion_of_vectors(name: str) -> bytes:
    """Return the key that says that records of a deleted collection may be left."""
    return DELETION + VECTOR + name.encode()


def deleted_range(deletion: bytes, generation: int) -> tuple[bytes, bytes]:
    """Return the prefix of what a deletion is about, and the first key that belongs to a later generation."""
    prefix = deletion.removeprefix(DELETION) + b"\0"
    return prefix, prefix + (generation + 1).to_bytes(_NUMBER_BYTES)


def host(host_id: str) -> bytes:
    """Return the key of a host."""
    return HOST + host_id.encode()


def environment(name: str) -> bytes:
    """Return the key of an environment."""
    return ENVIRONMENT + name.encode()


def footprint(behaviour: str) -> bytes:
    """Return the key of what was learned of a behaviour."""
    return FOOTPRINT + behaviour.encode()
