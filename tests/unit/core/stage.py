"""A stage on which the whole core plays: store, clock, alarms, and a world of hosts and agents as they really are."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from hundredfold.internal.v1 import host_service_pb2, records_pb2
from hundredfold.stores.contract import Committed
from hundredfold.stores.memory import MemoryStore
from hundredfold.v1 import coordinator_service_pb2, task_pb2
from hundredfold_coordinator import keys
from hundredfold_coordinator.core import effects, events
from hundredfold_coordinator.core.decide import decide
from hundredfold_coordinator.core.recovery import recover
from hundredfold_coordinator.core.resident import Next
from hundredfold_coordinator.core.state import AttemptId, Limits, State, attempt_id
from hypothesis.stateful import RuleBasedStateMachine

MIB = 1 << 20
STAYING = frozenset({task_pb2.STRATEGY_POOL, task_pb2.STRATEGY_STATEFUL, task_pb2.STRATEGY_SEQUENTIAL})
LIMITS = Limits(
    concurrency=4,
    queue_limit=6,
    queue_bytes=700,
    tenant_queue_limit=3,
    tenant_weights={"a": 2.0},
    tenant_limits={"b": 2},
    behaviour_limits={"heavy": 2},
    priority_ageing_seconds=10,
    memory_reserve_bytes=100 * MIB,
    event_quota=3,
    pool_size=2,
    pool_tasks=3,
    pool_idle_seconds=1e-6,
)


@dataclass
class Agent:
    """A worker; `current` is the attempt it is at as far as it knows, None if it has none and may ask for one."""

    credential: str
    current: AttemptId | None
    stays: bool = False
    reported: bool = False
    doomed: bool = False
    asking: bool = False


@dataclass
class Host:
    id: str
    attached: bool = False
    agents: dict[AttemptId, Agent] = field(default_factory=dict)
    reports: dict[int, tuple[Callable[..., events.Event], dict[str, Any]]] = field(default_factory=dict)
    number: int = 0
    free: int = 1000

    def measured(self) -> coordinator_service_pb2.Machine:
        """Return a sample of its machine: a hundred MiB are kept in reserve."""
        return coordinator_service_pb2.Machine(
            memory_total_bytes=1000 * MIB,
            memory_free_bytes=self.free * MIB,
            headroom_bytes=100 * MIB,
            cpu_count=2,
        )


class Stage(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store, self.now_ns, self.count, self.fate, self.sound = MemoryStore(), 0, 0, "", True
        self.hosts: list[Host] = []
        self.secrets = count()
        self.accepted: dict[str, str] = {}
        self.ended: dict[str, tuple[int, bytes | None]] = {}
        self.gone: list[AttemptId] = []
        self.saved: set[str] = set()
        self.overtaken: dict[str, task_pb2.SessionPolicy.ValueType] = {}
        self.session_writes: Counter[str] = Counter()
        self.alarms: dict[effects.AlarmKey, events.Event] = {}
        self.burials: list[AttemptId] = []
        self.start()

    def start(self) -> None:
        """Start a coordinator on what the store has; no host is attached to it."""
        self.fate = ""
        self.state = State(LIMITS, lambda: f"secret-{next(self.secrets)}", lambda: 1.0)
        self.alarms, self.burials = {}, []
        drops = [records_pb2.DropRecord.FromString(entry.record.value) for entry in self.store.scan(keys.DROP)]
        for alarm in recover(self.state, [self.stored(task_id) for task_id in self.live()], self.now_ns, drops):
            self.perform(alarm)
        for host in self.hosts:
            host.attached = False
        for host_id in set(self.state.alive.values()) - {host.id for host in self.hosts}:
            self.tell(events.HostLost, host=host_id)

    def tell(self, kind: Callable[..., events.Event], **fields: Any) -> effects.Effect | None:
        """Tell the core something, commit, and do what it wants; return its answer, None if it has crashed."""
        self.now_ns, self.sound = self.now_ns + 1, False
        decision = decide(self.state, kind(now_ns=self.now_ns, **fields))
        self.look_at([effect for effect in decision.effects if isinstance(effect, effects.Launch)])
        fate, self.fate = self.fate, ""
        if fate != "before the commit":
            assert isinstance(self.store.commit([decision.batch])[0], Committed)
        for effect in decision.effects if not fate else ():
            self.perform(effect)
        if fate:
            self.start()
        answers = [one for one in decision.effects if isinstance(one, effects.Reply | effects.Refuse)]
        return None if fate else next((one for one in answers if one.to == fields.get("reply")), None)

    def look_at(self, launches: list[effects.Launch]) -> None:
        """Check that what is launched fits beside what is used, set aside and kept, unless its host was idle."""
        new, hosts = {launch.attempt for launch in launches}, self.state.hosts
        loads = {key: load for host in hosts.values() for key, load in host.loads.items()}
        taken = sum(load.outstanding_bytes(self.now_ns) for key, load in loads.items() if key not in new)
        busy = {host.id for host in hosts.values() if host.loads.keys() - new}
        for launch in launches:
            assert launch.reservation_bytes <= (launch.limits.memory_bytes or launch.reservation_bytes)
            taken += loads[launch.attempt].outstanding_bytes(self.now_ns)
            machine = hosts[launch.host].machine
            assert machine, "nobody knows what is free"
            assert machine.memory_free_bytes >= machine.headroom_bytes
            assert machine.headroom_bytes + taken <= machine.memory_free_bytes or launch.host not in busy
            busy.add(launch.host)

    def perform(self, effect: effects.Effect) -> None:
        host = next((h for h in self.hosts if h.attached and h.id == getattr(effect, "host", "")), None)
        if isinstance(effect, effects.Remind):
            self.alarms[effect.alarm] = effect.event
        elif isinstance(effect, effects.Dismiss):
            self.alarms.pop(effect.alarm, None)
        elif isinstance(effect, effects.Reply) and isinstance(effect.value, Next):
            self.hear(effect.to, effect.value)
        elif isinstance(effect, effects.Bury):
            self.burials.append(effect.attempt)
        elif host and isinstance(effect, effects.Launch):
            assert effect.attempt not in host.agents
            stays = self.state.tasks[effect.attempt[0]].task.spec.strategy in STAYING
            host.agents[effect.attempt] = Agent(effect.credential, effect.attempt, stays)
        elif host and isinstance(effect, effects.Kill) and effect.attempt in host.agents:
            host.agents[effect.attempt].doomed = True
        elif host and isinstance(effect, effects.Acknowledge):
            host.reports = {number: report for number, report in host.reports.items() if number > effect.number}

    def hear(self, to: object, told: Next) -> None:
        """Let the worker that waits for it hear what is next, if it is still there."""
        agent = next((agent for _, key, agent in self.all_agents() if ("worker", key) == to), None)
        if agent:
            agent.current = attempt_id(told.record) if told.record else None
            agent.asking, agent.doomed = False, agent.doomed or not told.stay

    def all_agents(self) -> list[tuple[Host, AttemptId, Agent]]:
        return [(host, key, agent) for host in self.hosts for key, agent in host.agents.items()]

    def stored(self, task_id: str) -> records_pb2.TaskRecord:
        (found,) = self.store.get([keys.task(task_id)])
        assert found
        return records_pb2.TaskRecord.FromString(found.value)

    def has(self, key: bytes) -> bool:
        return self.store.get([key]) != [None]

    def session(self, name: str) -> records_pb2.SessionRecord:
        (found,) = self.store.get([keys.session(name)])
        return records_pb2.SessionRecord.FromString(found.value) if found else records_pb2.SessionRecord()

    def live(self) -> list[str]:
        return [entry.key.removeprefix(keys.LIVE).decode() for entry in self.store.scan(keys.LIVE)]


def of(key: AttemptId) -> host_service_pb2.Launched:
    return host_service_pb2.Launched(attempt=host_service_pb2.AttemptKey(task_id=key[0], number=key[1]))
