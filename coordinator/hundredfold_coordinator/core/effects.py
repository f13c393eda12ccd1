"""Effects: what is to be done once the writes of a decision are durable, as data."""

from dataclasses import dataclass

from hundredfold.errors import HundredfoldError
from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import attempt_pb2, payload_pb2, policy_pb2, task_pb2

from hundredfold_coordinator.core.events import Event
from hundredfold_coordinator.core.state import AttemptId


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer whoever asked."""

    to: object
    value: object


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer whoever asked with an error."""

    to: object
    error: HundredfoldError


@dataclass(frozen=True, slots=True)
class Launch:
    """Have a host start a worker."""

    host: str
    attempt: AttemptId
    environment: str
    behaviour: str
    credential: str
    limits: policy_pb2.Limits
    grace_seconds: float
    reservation_bytes: int
    priority: int
    evictable: bool


@dataclass(frozen=True, slots=True)
class Kill:
    """Have a host end a worker, which it knows by the attempt it was made for."""

    host: str
    attempt: AttemptId
    grace_seconds: float
    cause: attempt_pb2.KillCause.ValueType = attempt_pb2.KILL_CAUSE_REQUESTED


@dataclass(frozen=True, slots=True)
class Bury:
    """Kill a worker whose host is dead, and its tree, if it is still exactly this process; `Buried` follows."""

    attempt: AttemptId
    process: records_pb2.ProcessIdentity


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Tell a host that a report is recorded."""

    host: str
    number: int


@dataclass(frozen=True, slots=True)
class Publish:
    """Tell watchers that a task has new events."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell waiters that a task has ended."""

    task: task_pb2.Task
    result: payload_pb2.Payload | None


AlarmKey = tuple[str, *tuple[str | int, ...]]
"""What an alarm is about: `("close", task_id)`."""


@dataclass(frozen=True, slots=True)
class Remind:
    """Bring an event up later, instead of whatever the same alarm was set for before."""

    alarm: AlarmKey
    after_seconds: float
    event: Event


@dataclass(frozen=True, slots=True)
class Dismiss:
    """Bring nothing up for this alarm any more."""

    alarm: AlarmKey


@dataclass(frozen=True, slots=True)
class EndHost:
    """Have a host end that runs nothing."""

    host: str


Effect = Reply | Refuse | Launch | Kill | Bury | Acknowledge | Publish | Announce | Remind | Dismiss | EndHost
