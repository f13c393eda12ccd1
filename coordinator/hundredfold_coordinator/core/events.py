"""Events: everything that can happen to the coordinator, as data.

`now_ns` is the wall clock in nanoseconds since the epoch. `reply` is where an answer goes; the core passes it on
without looking at it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from google.protobuf.duration_pb2 import Duration
from hundredfold.errors import StoreUnreachable
from hundredfold.internal.v1 import host_service_pb2, records_pb2
from hundredfold.v1 import attempt_pb2, coordinator_service_pb2, payload_pb2, session_pb2, task_pb2

from hundredfold_coordinator.core.crew import Crew
from hundredfold_coordinator.core.state import AttemptId


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened at a moment."""

    now_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted(Event):
    """A client wants a task. Validated; `stored` is what the store has under its request id."""

    task_id: str
    spec: task_pb2.TaskSpec
    request_id: str
    digest: bytes
    stored: records_pb2.RequestRecord | None
    reply: object


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequested(Event):
    """A client wants a live task to end."""

    task_id: str
    reason: str
    reply: object


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOutageChanged(Event):
    """The store does not answer, for this reason; or it does again, if that is None."""

    error: StoreUnreachable | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRoomChanged(Event):
    """The store is full, or has room again."""

    full: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRequested(Event):
    """A client wants a task to be tried again. `stored` is what the store has of it, after all that was decided."""

    task_id: str
    stored: records_pb2.TaskRecord
    reply: object


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteRequested(Event):
    """Tasks are not wanted any more. `stored` is what the store has of them, after all that was decided."""

    stored: Sequence[records_pb2.TaskRecord]
    reply: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Matured(Event):
    """A task that had to wait for a time may start from now on."""

    task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOverdue(Event):
    """A task should have started by now."""

    task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseOverdue(Event):
    """A task should have ended by now."""

    task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken(Event):
    """A worker takes its attempt; `process` is its process, if its host has not told of it yet and it is known."""

    credential_hash: bytes
    process: records_pb2.ProcessIdentity | None
    token_hash: bytes
    reply: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited(Event):
    """A worker that stays asks for its next attempt."""

    credential_hash: bytes
    reply: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn(Event):
    """One that has asked has waited long enough; `waiter` is the reply it waits for."""

    credential_hash: bytes
    waiter: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Emitted(Event):
    """A worker sends events of its behaviour."""

    attempt: AttemptId
    emitted: Sequence[task_pb2.Emitted]
    reply: object


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSaved(Event):
    """A worker saves a checkpoint."""

    attempt: AttemptId
    checkpoint: payload_pb2.Payload
    reply: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed(Event):
    """A worker delivers a result. `wants_next`: it stays, and can take another attempt.

    `session` is what the store has under the task's session, `memory` the records to write to collections, by key, None
    for those to delete; `digest` is over all that is delivered.
    """

    attempt: AttemptId
    result: payload_pb2.Payload
    session: records_pb2.SessionRecord
    session_writes: session_pb2.SessionWrites
    emitted: Sequence[task_pb2.Emitted]
    digest: bytes
    reply: object
    memory: Sequence[tuple[bytes, records_pb2.VectorRecord | None]] = ()
    wants_next: bool = False
    cpu_time: Duration = field(default_factory=Duration)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Event):
    """A worker delivers a failure; see `Completed`."""

    attempt: AttemptId
    failure: attempt_pb2.Failure
    emitted: Sequence[task_pb2.Emitted]
    reply: object
    wants_next: bool = False
    cpu_time: Duration = field(default_factory=Duration)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrun(Event):
    """An attempt of a worker that stays has run as long as it may."""

    attempt: AttemptId


@dataclass(frozen=True, slots=True, kw_only=True)
class Overstayed(Event):
    """A worker should have ended by itself by now; it was made for this attempt."""

    attempt: AttemptId


@dataclass(frozen=True, slots=True, kw_only=True)
class DropContinued(Event):
    """More may be dropped of the tasks that waited for a long-lived agent that is gone."""

    crew: Crew


@dataclass(frozen=True, slots=True, kw_only=True)
class Unresponsive(Event):
    """A worker should have been ended by its host by now."""

    attempt: AttemptId


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAttached(Event):
    """A host has attached; its earlier reports have been told already. `retiring`: it is to start nothing more."""

    host: str
    inventory: Sequence[host_service_pb2.Launched]
    retiring: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HostDetached(Event):
    """A host's stream has ended; its process may live."""

    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLost(Event):
    """A host's process is gone, and its workers with it or soon."""

    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostHeard(Event):
    """A host has been heard of again, or has not been for some seconds."""

    host: str
    silent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Buried(Event):
    """What was left of an attempt whose host is dead has been killed; `receipt` says what that was."""

    attempt: AttemptId
    receipt: attempt_pb2.Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionWritten(Event):
    """A client writes a session; `session` is what the store has of it."""

    session_id: str
    session: records_pb2.SessionRecord
    writes: session_pb2.SessionWrites
    request: records_pb2.SessionRequest
    reply: object


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDeleted(Event):
    """A client deletes a session; `session` is what the store has of it."""

    session_id: str
    session: records_pb2.SessionRecord
    reply: object


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentChanged(Event):
    """An environment is ready on a host, or is not; `behaviours` are what it has, None if it says so itself."""

    host: str
    environment: str
    ready: bool
    behaviours: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineMeasured(Event):
    """A host has measured its machine, and some of the attempts on it."""

    host: str
    machine: coordinator_service_pb2.Machine
    attempts: Sequence[host_service_pb2.AttemptUsage] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched(Event):
    """A host reports a worker."""

    host: str
    number: int
    attempt: AttemptId
    process: records_pb2.ProcessIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchFailed(Event):
    """A host reports that a worker could not be made; `transient` if that may be otherwise soon."""

    host: str
    number: int
    attempt: AttemptId
    reason: str
    transient: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRested(Event):
    """A host that could make no process may try again."""

    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited(Event):
    """A host reports the end of a worker and its tree."""

    host: str
    number: int
    attempt: AttemptId
    receipt: attempt_pb2.Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainBegan(Event):
    """From now on nothing is accepted and started."""

    reply: object


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainExpired(Event):
    """What still runs is to be ended and queued again."""

    grace_seconds: float
