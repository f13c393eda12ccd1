"""The key layout: where in the store everything is. The only module that knows it.

    lease                        LeaseRecord      who may write
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
    host/HOST                    HostRecord
    environment/NAME             Environment

Task ids sort by time, so a scan of `task/` is in the order of submission. Numbers are eight bytes, big-endian, so that
they sort too. A session's name may hold any character, so in `item/` it is followed by a zero byte, which it may not.
"""

from typing import Final

from hundredfold.internal.v1 import records_pb2

LEASE: Final = b"lease"
LIVE: Final = b"live/"
TASK: Final = b"task/"
DEAD: Final = b"dead/"
HOST: Final = b"host/"
ENVIRONMENT: Final = b"environment/"


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
    return b"session/" + session_id.encode()


def items_of(session_id: str) -> bytes:
    """Return the prefix of a session's items."""
    return b"item/" + session_id.encode() + b"\0"


def item(session_id: str, number: int) -> bytes:
    """Return the key of one item of a session."""
    return items_of(session_id) + number.to_bytes(8)


def host(host_id: str) -> bytes:
    """Return the key of a host."""
    return HOST + host_id.encode()


def environment(name: str) -> bytes:
    """Return the key of an environment."""
    return ENVIRONMENT + name.encode()
