"""What the coordinator knows: the live tasks, their attempts, the hosts. Everything here can be rebuilt from the store.

Only `decide` and what it calls may change it; services read it.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from hundredfold.errors import StoreUnreachable
from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import attempt_pb2, coordinator_service_pb2, task_pb2

from hundredfold_coordinator.core.crew import Crew
from hundredfold_coordinator.core.drop import Drop
from hundredfold_coordinator.core.history import History
from hundredfold_coordinator.core.load import Load
from hundredfold_coordinator.core.queue import Queue
from hundredfold_coordinator.core.rate import Rate
from hundredfold_coordinator.core.resident import Residents
from hundredfold_coordinator.core.shares import Shares

AttemptId = tuple[str, int]
"""Task id and attempt number."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The figures decisions are made by; `hundredfold_coordinator.config` says what each means."""

    concurrency: int = 100
    queue_limit: int = 100_000
    queue_bytes: int = 1 << 30
    tenant_queue_limit: int = 100_000
    tenant_weights: Mapping[str, float] = field(default_factory=dict)
    tenant_limits: Mapping[str, int] = field(default_factory=dict)
    behaviour_limits: Mapping[str, int] = field(default_factory=dict)
    priority_ageing_seconds: float = 300
    event_quota: int = 10_000
    memory_reserve_bytes: int = 0
    grace_seconds: float = 5
    wall_limit_seconds: float = 3600
    process_limit: int = 1000
    strategies: Mapping[str, task_pb2.Strategy.ValueType] = field(default_factory=dict)
    pool_size: int = 8
    pool_tasks: int = 1000
    pool_bytes: int = 0
    pool_seconds: float = 3600
    pool_idle_seconds: float = 30


@dataclass(slots=True)
class HostState:
    """A host that is attached.

    Attributes:
        environments: those that are ready on it, with the names of their behaviours; None where a host says itself, of
            every launch, why it cannot be.
        loads: what each worker takes that is alive on it, by the attempt it was made for.
        machine: its last sample of its machine; None before the first.
        outstanding_bytes: memory set aside for its attempts and not used by them yet.
        guessing: whether for some of them that is only a guess.
        assessed_ns: when that was last worked out.
        exhausted: why it could make no process just now; empty if it could.
        silent: whether it has not been heard of for some seconds.
        retiring: whether it is to run what it has to its end, and no more.

    """

    id: str
    environments: dict[str, frozenset[str] | None] = field(default_factory=dict)
    loads: dict[AttemptId, Load] = field(default_factory=dict)
    machine: coordinator_service_pb2.Machine | None = None
    outstanding_bytes: int = 0
    guessing: bool = False
    assessed_ns: int = 0
    exhausted: str = ""
    silent: bool = False
    retiring: bool = False

    def has(self, environment: str, behaviour: str) -> bool:
        """Whether a behaviour can be run here, as far as its environment is concerned."""
        behaviours = self.environments.get(environment, frozenset())
        return behaviours is None or behaviour in behaviours


@dataclass(slots=True)
class State:
    """The whole of it.

    Attributes:
        limits: see `Limits`.
        mint: makes a new secret.
        chance: gives a random number from 0 to 1; beside `mint` the only source of randomness.
        tasks: those that have not ended, and ended ones whose process is not gone yet.
        queue: those of them that wait.
        alive: attempts from their launch to their receipt, with the host of each; those of residents until they have
            delivered.
        residents: workers that stay for several attempts.
        drops: what is left to end of tasks whose long-lived agent is gone; nobody else takes what is its crew's.
        requests: request ids of recent submissions, with task id and digest.
        credentials: tasks by the SHA-256 of their newest attempt's credential.
        tokens: attempts by the SHA-256 of their token.
        suspects: those of the live attempts whose tasks have lost their hosts several times.
        hosts: those that are attached, by id.
        shares: what each tenant has and has had.
        behaviours: attempts alive, by behaviour.
        footprints: what was learned of behaviours, by name.
        seen_bytes: the most that a live attempt was seen to use, by behaviour, as long as too few have ended.
        starts: when attempts were started lately.
        history: what machines had lately.
        ended: tasks that ended since the start, by state.
        kept: tasks in the store, as far as they are counted; see `retention`.
        dead: those of them that are dead letters.
        turns: how many tasks were given to long-lived agents in turn.
        last_turn_ns: the highest `turn_ns` of all tasks that were submitted.
        deleted_version: the highest version that a deleted session had: new ones begin behind it.
        ramp: how many more attempts may be started of which nothing is known, before the next sample of the machine.
        unpassed: a task that has waited for memory so long that no smaller one is started before it; empty for none.
        draining: whether nothing more is accepted and started.
        store_full: whether nothing more is accepted, for want of room in the store.
        store_outage: why nothing more is accepted, if that is because the store does not answer.

    """

    limits: Limits
    mint: Callable[[], str]
    chance: Callable[[], float]
    tasks: dict[str, records_pb2.TaskRecord] = field(default_factory=dict)
    queue: Queue = field(default_factory=Queue)
    alive: dict[AttemptId, str] = field(default_factory=dict)
    residents: Residents = field(default_factory=Residents)
    drops: dict[Crew, Drop] = field(default_factory=dict)
    requests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    credentials: dict[bytes, str] = field(default_factory=dict)
    tokens: dict[bytes, AttemptId] = field(default_factory=dict)
    suspects: set[AttemptId] = field(default_factory=set)
    hosts: dict[str, HostState] = field(default_factory=dict)
    shares: Shares = field(init=False)
    behaviours: Counter[str] = field(default_factory=Counter)
    footprints: dict[str, records_pb2.FootprintRecord] = field(default_factory=dict)
    seen_bytes: dict[str, int] = field(default_factory=dict)
    starts: Rate = field(default_factory=Rate)
    history: History = field(default_factory=History)
    ended: Counter[task_pb2.TaskState.ValueType] = field(default_factory=Counter)
    kept: int = 0
    dead: int = 0
    turns: int = 0
    last_turn_ns: int = 0
    deleted_version: int = 0
    ramp: int = 0
    unpassed: str = ""
    draining: bool = False
    store_full: bool = False
    store_outage: StoreUnreachable | None = None

    def __post_init__(self) -> None:
        """Begin with nothing alive."""
        self.shares = Shares(self.limits.tenant_weights)

    def by_credential(self, credential_hash: bytes) -> records_pb2.TaskRecord | None:
        """Return the task whose newest attempt has this credential."""
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
