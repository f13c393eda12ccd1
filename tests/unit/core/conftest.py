"""A core to tell events to: what each decision writes goes to a store in memory, what it wants done is looked at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeVar

import pytest
from hundredfold.internal.v1 import host_service_pb2, records_pb2
from hundredfold.stores.contract import Batch, Committed, Write
from hundredfold.stores.memory import MemoryStore
from hundredfold.v1 import attempt_pb2, payload_pb2, session_pb2, task_pb2
from hundredfold_coordinator import keys
from hundredfold_coordinator.core import effects, events
from hundredfold_coordinator.core.decide import decide
from hundredfold_coordinator.core.recovery import recover
from hundredfold_coordinator.core.state import AttemptId, Limits, State, attempt_id

HOST = "host-1"
ENV = "default"
_E = TypeVar("_E", bound=effects.Effect)


def payload(text: str = "{}") -> payload_pb2.Payload:
    return payload_pb2.Payload(content_type="application/json", data=text.encode())


@dataclass
class Told:
    """What came of one event."""

    batch: Batch
    effects: list[effects.Effect]

    def all(self, kind: type[_E]) -> list[_E]:
        """Return the effects of one kind."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def one(self, kind: type[_E]) -> _E:
        """Return the only effect of this kind."""
        (effect,) = self.all(kind)
        return effect

    @property
    def reply(self) -> Any:
        """What was answered."""
        assert self.all(effects.Refuse) == []
        return self.one(effects.Reply).value

    @property
    def error(self) -> Any:
        """What it was refused with."""
        assert self.all(effects.Reply) == []
        return self.one(effects.Refuse).error

    @property
    def writes(self) -> dict[bytes, bytes | None]:
        """Values by key; None for one that is deleted."""
        return {write.key: write.value for write in self.batch.writes}


@dataclass
class Core:
    """A state, a clock that stands still, and everything that was ever written."""

    state: State = field(init=False)
    store: MemoryStore = field(default_factory=MemoryStore)
    now_ns: int = 1_000_000_000
    minted: list[str] = field(default_factory=list)
    written: list[Write] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = State(Limits(grace_seconds=3), self._mint, lambda: 1.0)

    def limit(self, **limits: Any) -> None:
        """Set figures that decisions are made by."""
        self.state.limits = Limits(**{"grace_seconds": 3, **limits})

    def tell(self, kind: Callable[..., events.Event], **fields: Any) -> Told:
        """Decide an event and commit what it writes."""
        decision = decide(self.state, kind(now_ns=self.now_ns, **fields))
        for result in self.store.commit([decision.batch]):
            assert isinstance(result, Committed), result
        self.written += decision.batch.writes
        return Told(decision.batch, decision.effects)

    def restart(self) -> Told:
        """Forget everything and take up what the store has, as a new coordinator does."""
        self.state = State(self.state.limits, self._mint, lambda: 1.0)
        live = [entry.key.removeprefix(keys.LIVE).decode() for entry in self.store.scan(keys.LIVE, limit=10_000)]
        drops = [records_pb2.DropRecord.FromString(entry.record.value) for entry in self.store.scan(keys.DROP)]
        alarms = recover(self.state, [self.stored(task_id) for task_id in live], self.now_ns, drops)
        return Told(Batch([]), alarms)

    # What hosts say ---------------------------------------------------------------------------------------------------

    def attach(self, host: str = HOST, *environments: str, inventory: Sequence[AttemptId] = ()) -> Told:
        """Attach a host; without names its one environment is the default one."""
        told = self.tell(events.HostAttached, host=host, inventory=[launched(key) for key in inventory])
        for name in environments or (ENV,):
            ready = self.tell(events.EnvironmentChanged, host=host, environment=name, ready=True)
            told = Told(Batch([*told.batch.writes, *ready.batch.writes]), [*told.effects, *ready.effects])
        return told

    def launched(self, task_id: str, *, pid: int = 100, number: int = 1) -> Told:
        """Report the newest attempt's process."""
        key, host = self.newest(task_id)
        process = records_pb2.ProcessIdentity(pid=pid, start_ticks=7, boot_id="b")
        return self.tell(events.Launched, host=host, number=number, attempt=key, process=process)

    def launch_failed(self, task_id: str, reason: str = "no fork") -> Told:
        """Report that the newest attempt's process cannot be made."""
        key, host = self.newest(task_id)
        return self.tell(events.LaunchFailed, host=host, number=1, attempt=key, reason=reason)

    def exited(self, task_id: str, *, attempt: AttemptId | None = None, **receipt: Any) -> Told:
        """Report the end of the newest attempt, or of another one."""
        key, host = self.newest(task_id)
        told = attempt_pb2.Receipt(**receipt)
        return self.tell(events.Exited, host=host, number=1, attempt=attempt or key, receipt=told)

    def newest(self, task_id: str) -> tuple[AttemptId, str]:
        """Return the newest attempt of a task, and its host."""
        record = self.state.tasks.get(task_id) or self.stored(task_id)
        return attempt_id(record), record.task.attempts[-1].host

    # What clients and workers say -------------------------------------------------------------------------------------

    def submit(self, task_id: str = "t1", *, request_id: str = "", digest: bytes = b"d", **spec: Any) -> Told:
        """Submit a task."""
        wanted = task_pb2.TaskSpec(**{"behaviour": "b", "environment": ENV, "input": payload('{"n": 1}'), **spec})
        found = self.store.get([keys.request(request_id)])[0]
        stored = records_pb2.RequestRecord.FromString(found.value) if found else None
        fields = {"spec": wanted, "request_id": request_id, "digest": digest, "stored": stored, "reply": "client"}
        return self.tell(events.Submitted, task_id=task_id, **fields)

    def mature(self, task_id: str = "t1") -> Told:
        """Let the time come that a task waits for."""
        return self.tell(events.Matured, task_id=task_id)

    def bury(self, attempt: AttemptId) -> Told:
        """Report that what a dead host left of an attempt is gone."""
        receipt = attempt_pb2.Receipt(kill_cause=attempt_pb2.KILL_CAUSE_HOST_ENDED)
        return self.tell(events.Buried, attempt=attempt, receipt=receipt)

    def cancel(self, task_id: str = "t1", reason: str = "") -> Told:
        """Cancel a task."""
        return self.tell(events.CancelRequested, task_id=task_id, reason=reason, reply="client")

    def take(self, credential: str, *, pid: int = 0) -> Told:
        """Let a worker take its attempt; its token is its credential with a dash."""
        process = records_pb2.ProcessIdentity(pid=pid, start_ticks=1, boot_id="boot") if pid else None
        hashes = {"credential_hash": hashed(credential), "token_hash": hashed(credential + "-")}
        return self.tell(events.Taken, process=process, reply="w", **hashes)

    def run(self, task_id: str = "t1", **spec: Any) -> AttemptId:
        """Submit a task and let its worker take it; return the attempt."""
        self.take(self.submit(task_id, **spec).one(effects.Launch).credential)
        return task_id, 1

    def emit(self, attempt: AttemptId, *sequences: int) -> Told:
        """Send events of these numbers."""
        return self.tell(events.Emitted, attempt=attempt, emitted=emitted(*sequences), reply="w")

    def complete(self, attempt: AttemptId, text: str = "1", **fields: Any) -> Told:
        """Deliver a result; the session is what the store has."""
        session = self.state.tasks[attempt[0]].task.spec.session if attempt[0] in self.state.tasks else ""
        defaults = {
            "result": payload(text),
            "session": self.session(session),
            "session_writes": session_pb2.SessionWrites(),
            "emitted": [],
            "digest": text.encode(),
            "reply": "w",
        }
        return self.tell(events.Completed, attempt=attempt, **{**defaults, **fields})

    def fail(self, attempt: AttemptId, message: str = "no", **fields: Any) -> Told:
        """Deliver a failure."""
        failure = attempt_pb2.Failure(outcome=attempt_pb2.ATTEMPT_OUTCOME_RAISED, type="E", message=message)
        return self.tell(events.Failed, attempt=attempt, **{"failure": failure, "emitted": [], "reply": "w", **fields})

    # What the store has -----------------------------------------------------------------------------------------------

    def stored_footprint(self, behaviour: str) -> records_pb2.FootprintRecord | None:
        """Return what the store has learned of a behaviour."""
        (found,) = self.store.get([keys.footprint(behaviour)])
        return records_pb2.FootprintRecord.FromString(found.value) if found else None

    def stored(self, task_id: str = "t1") -> records_pb2.TaskRecord:
        """Return a task's record."""
        (found,) = self.store.get([keys.task(task_id)])
        assert found
        return records_pb2.TaskRecord.FromString(found.value)

    def session(self, name: str) -> records_pb2.SessionRecord:
        """Return a session's record."""
        (found,) = self.store.get([keys.session(name)])
        return records_pb2.SessionRecord.FromString(found.value) if found else records_pb2.SessionRecord()

    def has(self, key: bytes) -> bool:
        """Whether the store has a key."""
        return self.store.get([key])[0] is not None

    def history(self, task_id: str = "t1") -> list[task_pb2.Event]:
        """Return a task's events."""
        entries = self.store.scan(keys.events_of(task_id))
        return [task_pb2.Event.FromString(entry.record.value) for entry in entries]

    def states(self, task_id: str = "t1") -> list[str]:
        """Return the states that a task has had."""
        changes = [event.state_change.state for event in self.history(task_id) if event.HasField("state_change")]
        return [task_pb2.TaskState.Name(state).removeprefix("TASK_STATE_") for state in changes]

    def _mint(self) -> str:
        self.minted.append(f"secret-{len(self.minted) + 1}")
        return self.minted[-1]


def hashed(secret: str) -> bytes:
    return sha256(secret.encode()).digest()


def emitted(*sequences: int) -> list[task_pb2.Emitted]:
    return [task_pb2.Emitted(worker_sequence=number, payload=payload(str(number))) for number in sequences]


def launched(key: AttemptId) -> host_service_pb2.Launched:
    process = records_pb2.ProcessIdentity(pid=100, start_ticks=7, boot_id="b")
    return host_service_pb2.Launched(
        attempt=host_service_pb2.AttemptKey(task_id=key[0], number=key[1]), process=process
    )


@pytest.fixture
def core() -> Core:
    """A core without a host."""
    return Core()


@pytest.fixture
def house() -> Core:
    """A core with one host, on which the default environment is ready."""
    core = Core()
    core.attach()
    return core
