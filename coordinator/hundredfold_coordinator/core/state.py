"""What the coordinator knows: the live tasks, their attempts, the hosts. Everything here can be rebuilt from the store.

Only `decide` and what it calls may change it; services read it.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import attempt_pb2, task_pb2

from hundredfold_coordinator.core.queue import Queue

AttemptId = tuple[str, int]
"""Task id and attempt number."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The figures decisions are made by; `hundredfold_coordinator.config` says what each means."""

    concurrency: int = 100
    queue_limit: int = 100_000
    event_quota: int = 10_000
    memory_reserve_bytes: int = 0
    grace_seconds: float = 5


@dataclass(slots=True)
class HostState:
    """A host that is attached.

    Attributes:
        environments: names of those that are ready on it.
        attempts: those alive on it.
        memory_available_bytes: of its machine, at the last sample; None before the first.
        exhausted: why it could make no process just now; empty if it could.

    """

    id: str
    environments: set[str] = field(default_factory=set)
    attempts: set[AttemptId] = field(default_factory=set)
    memory_available_bytes: int | None = None
    exhausted: str = ""


@dataclass(slots=True)
class State:
    """The whole of it.

    Attributes:
        limits: see `Limits`.
        mint: makes a new secret; the only source of randomness.
        tasks: those that have not ended, and ended ones whose process is not gone yet.
        queue: those of them that wait.
        alive: attempts from their launch to their receipt, with the host of each.
        requests: request ids of recent submissions, with task id and digest.
        credentials: tasks by the SHA-256 of their live attempt's credential.
        tokens: tasks by the SHA-256 of their live attempt's token.
        hosts: those that are attached, by id.
        ended: tasks that ended since the start, by state.
        draining: whether nothing more is accepted and started.

    """

    limits: Limits
    mint: Callable[[], str]
    tasks: dict[str, records_pb2.TaskRecord] = field(default_factory=dict)
    queue: Queue = field(default_factory=Queue)
    alive: dict[AttemptId, str] = field(default_factory=dict)
    requests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    credentials: dict[bytes, str] = field(default_factory=dict)
    tokens: dict[bytes, str] = field(default_factory=dict)
    hosts: dict[str, HostState] = field(default_factory=dict)
    ended: Counter[task_pb2.TaskState.ValueType] = field(default_factory=Counter)
    draining: bool = False

    def by_token(self, token_hash: bytes) -> records_pb2.TaskRecord | None:
        """Return the task whose current attempt has this token."""
        return self.tasks.get(self.tokens.get(token_hash, ""))

    def by_credential(self, credential_hash: bytes) -> records_pb2.TaskRecord | None:
        """Return the task whose current attempt has this credential."""
        return self.tasks.get(self.credentials.get(credential_hash, ""))


def current_attempt(record: records_pb2.TaskRecord) -> attempt_pb2.Attempt:
    """Return a task's newest attempt.

    Raises:
        IndexError: it has none.

    """
    return record.task.attempts[-1]


def attempt_id(record: records_pb2.TaskRecord) -> AttemptId:
    """Return the identity of a task's newest attempt."""
    return record.task.id, len(record.task.attempts)
