"""Plays at random with the whole core, crashes included, against a world of hosts and agents as they really are.

`HUNDREDFOLD_SEED` chooses another random run than the usual one; the seed is printed.
"""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import count
from typing import Any

import pytest
from hundredfold.internal.v1 import host_service_pb2, records_pb2
from hundredfold.stores.contract import Committed
from hundredfold.stores.memory import MemoryStore
from hundredfold.v1 import attempt_pb2, payload_pb2, session_pb2, task_pb2
from hundredfold_coordinator import keys
from hundredfold_coordinator.core import effects, events, lifecycle
from hundredfold_coordinator.core.decide import decide
from hundredfold_coordinator.core.recovery import recover
from hundredfold_coordinator.core.state import AttemptId, Limits, State, attempt_id
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

SEED = int(os.environ.get("HUNDREDFOLD_SEED", "1"))
ACTS = ["launched", "take", "complete", "fail", "emit", "exit", "cancel"]
CHECKS = [HealthCheck.too_slow, HealthCheck.filter_too_much]
LIMITS = Limits(concurrency=4, queue_limit=8, event_quota=3)


@dataclass
class Agent:
    credential: str
    reported: bool = False
    doomed: bool = False


@dataclass
class Host:
    id: str
    attached: bool = False
    agents: dict[AttemptId, Agent] = field(default_factory=dict)
    reports: dict[int, tuple[Callable[..., events.Event], dict[str, Any]]] = field(default_factory=dict)
    number: int = 0


class CoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store, self.now_ns, self.count, self.fate, self.sound = MemoryStore(), 0, 0, "", True
        self.hosts: list[Host] = []
        self.secrets = count()
        self.accepted: dict[str, str] = {}
        self.ended: dict[str, tuple[int, bytes | None]] = {}
        self.gone: list[AttemptId] = []
        self.session_writes: Counter[str] = Counter()
        self.alarms: dict[effects.AlarmKey, events.Event] = {}
        self.burials: list[AttemptId] = []
        self.start()
        self.attach(0)

    def start(self) -> None:
        """Start a coordinator on what the store has; no host is attached to it."""
        self.fate = ""
        self.state = State(LIMITS, lambda: f"secret-{next(self.secrets)}", lambda: 1.0)
        self.alarms, self.burials = {}, []
        for alarm in recover(self.state, [self.stored(task_id) for task_id in self.live()], self.now_ns):
            self.perform(alarm)
        for host in self.hosts:
            host.attached = False
        for host_id in set(self.state.alive.values()) - {host.id for host in self.hosts}:
            self.tell(events.HostLost, host=host_id)

    def tell(self, kind: Callable[..., events.Event], **fields: Any) -> effects.Effect | None:
        """Tell the core something, commit, and do what it wants; return its answer, None if it has crashed."""
        self.now_ns, self.sound = self.now_ns + 1, False
        decision = decide(self.state, kind(now_ns=self.now_ns, **fields))
        fate, self.fate = self.fate, ""
        if fate != "before the commit":
            assert isinstance(self.store.commit([decision.batch])[0], Committed)
        for effect in decision.effects if not fate else ():
            self.perform(effect)
        if fate:
            self.start()
        return (
            None
            if fate
            else next((one for one in decision.effects if isinstance(one, effects.Reply | effects.Refuse)), None)
        )

    def perform(self, effect: effects.Effect) -> None:
        host = next((h for h in self.hosts if h.attached and h.id == getattr(effect, "host", "")), None)
        if isinstance(effect, effects.Remind):
            self.alarms[effect.alarm] = effect.event
        elif isinstance(effect, effects.Dismiss):
            self.alarms.pop(effect.alarm, None)
        elif isinstance(effect, effects.Bury):
            self.burials.append(effect.attempt)
        elif host and isinstance(effect, effects.Launch):
            assert effect.attempt not in host.agents
            host.agents[effect.attempt] = Agent(effect.credential)
        elif host and isinstance(effect, effects.Kill) and effect.attempt in host.agents:
            host.agents[effect.attempt].doomed = True
        elif host and isinstance(effect, effects.Acknowledge):
            host.reports = {number: report for number, report in host.reports.items() if number > effect.number}

    @rule(session=st.sampled_from(["", "s", "t"]), repeat=st.integers(0, 3), cancel=st.integers(0, 7))
    def submit(self, session: str, repeat: int, cancel: int) -> None:
        self.count += 1
        request_id = f"r{max(1, self.count - repeat)}"  # perhaps one that was never answered
        (found,) = self.store.get([keys.request(request_id)])
        stored = records_pb2.RequestRecord.FromString(found.value) if found else None
        fields = {"task_id": f"{self.count:04}", "spec": task_pb2.TaskSpec(environment="default", session=session)}
        fields |= {"request_id": request_id, "digest": b"d", "stored": stored, "reply": "client"}
        answer = self.tell(events.Submitted, **fields)
        if isinstance(answer, effects.Reply):
            assert self.accepted.setdefault(request_id, str(answer.value)) == answer.value
            if not cancel:
                self.cancel(Host("none"), (str(answer.value), 0), Agent(""))

    @precondition(lambda self: self.alarms)
    @rule(which=st.integers(0, 9))
    def ring(self, which: int) -> None:
        """Let the time of an alarm come: it can be any, as clocks and loops may be late."""
        alarm = sorted(self.alarms)[which % len(self.alarms)]
        event = self.alarms.pop(alarm)
        self.tell(lambda now_ns: replace(event, now_ns=now_ns))

    @precondition(lambda self: self.burials)
    @rule()
    def bury(self) -> None:
        self.tell(events.Buried, attempt=self.burials.pop(), receipt=attempt_pb2.Receipt())

    @precondition(lambda self: self.ended)
    @rule(which=st.integers(0, 9), what=st.sampled_from(["retry", "retry", "delete"]))
    def revive(self, which: int, what: str) -> None:
        task_id = sorted(self.ended)[which % len(self.ended)]
        stored = self.stored(task_id)
        if what == "delete":
            self.tell(events.DeleteRequested, stored=[stored], reply="client")
            if self.store.get([keys.task(task_id)]) == [None]:
                del self.ended[task_id]
                self.accepted = {name: known for name, known in self.accepted.items() if known != task_id}
            return
        self.tell(events.RetryRequested, task_id=task_id, stored=stored, reply="client")
        if self.stored(task_id).task.state not in lifecycle.ENDED:
            assert stored.task.state != lifecycle.SUCCEEDED
            del self.ended[task_id]

    def all_agents(self) -> list[tuple[Host, AttemptId, Agent]]:
        return [(host, key, agent) for host in self.hosts for key, agent in host.agents.items()]

    @precondition(lambda self: self.all_agents() != [])
    @rule(which=st.integers(0, 9), what=st.sampled_from(ACTS))
    def act(self, which: int, what: str) -> None:
        getattr(self, what)(*self.all_agents()[which % len(self.all_agents())])

    @precondition(lambda self: self.all_agents() != [])
    @rule(which=st.integers(0, 9), deliver=st.sampled_from(["complete", "fail", "emit"]), last=st.booleans())
    def work(self, which: int, deliver: str, last: bool) -> None:  # noqa: FBT001  # hypothesis gives it
        agent = self.all_agents()[which % len(self.all_agents())]
        for step in ("launched", "take", deliver, *["exit"] * last):
            getattr(self, step)(*agent)

    @precondition(lambda self: self.gone)
    @rule(which=st.integers(0, 9))
    def complete_late(self, which: int) -> None:
        late = sorted(self.gone, key=lambda key: key[0] in self.state.tasks)
        self.complete(Host("none"), late[-1 - which % len(late)], Agent(""))

    def take(self, _host: Host, key: AttemptId, agent: Agent) -> None:
        credential, token = (sha256(text.encode()).digest() for text in (agent.credential, agent.credential + "-"))
        answer = self.tell(events.Taken, process=None, reply="w", credential_hash=credential, token_hash=token)
        assert not isinstance(answer, effects.Reply) or attempt_id(self.state.tasks[key[0]]) == key

    def launched(self, host: Host, key: AttemptId, agent: Agent) -> None:
        if not agent.reported:
            agent.reported = True
            self.report(host, events.Launched, attempt=key, process=records_pb2.ProcessIdentity(pid=9))

    def complete(self, _host: Host, key: AttemptId, _agent: Agent) -> None:
        if self.store.get([keys.task(key[0])]) == [None]:
            return  # deleted
        before = self.stored(key[0]).task
        session, text = self.session(before.spec.session), f"{key}".encode()
        writes = session_pb2.SessionWrites(expected_version=session.version)
        if before.spec.session:
            writes.append.add(role="agent")
        fields = {"session": session, "session_writes": writes, "emitted": [], "digest": text, "reply": "w"}
        self.tell(events.Completed, attempt=key, result=payload_pb2.Payload(data=text), **fields)
        if self.stored(key[0]).task.state != before.state:
            assert key == (before.id, len(before.attempts)), "a stale attempt has delivered"
            self.session_writes[before.spec.session] += 1

    def emit(self, _host: Host, key: AttemptId, _agent: Agent) -> None:
        self.tell(events.Emitted, attempt=key, emitted=[task_pb2.Emitted(worker_sequence=1)], reply="w")

    def fail(self, _host: Host, key: AttemptId, _agent: Agent) -> None:
        failure = attempt_pb2.Failure(outcome=attempt_pb2.ATTEMPT_OUTCOME_RAISED, type="E", message="m")
        self.tell(events.Failed, attempt=key, failure=failure, emitted=[], reply="w")

    def cancel(self, _host: Host, key: AttemptId, _agent: Agent) -> None:
        self.tell(events.CancelRequested, task_id=key[0], reason="", reply="client")

    def exit(self, host: Host, key: AttemptId, agent: Agent) -> None:
        self.gone.append(key)
        del host.agents[key]
        says = {"receipt": attempt_pb2.Receipt()} if agent.reported else {"reason": "no fork"}
        self.report(host, events.Exited if agent.reported else events.LaunchFailed, attempt=key, **says)

    def report(self, host: Host, kind: Callable[..., events.Event], **fields: Any) -> None:
        host.number += 1
        host.reports[host.number] = kind, {"number": host.number, **fields}
        if host.attached:
            self.tell(kind, host=host.id, number=host.number, **fields)

    @rule(what=st.sampled_from(["attach", "attach", "detach", "lose", "drain", "crash"]), which=st.integers(0, 2))
    def trouble(self, what: str, which: int) -> None:
        getattr(self, what)(which)

    def attach(self, which: int) -> None:
        """Attach as a host does: first what was not acknowledged, then what it had; the third way forks in between."""
        while len(self.hosts) <= which % 2:
            self.hosts.append(Host(f"host-{next(self.secrets)}"))
        host = self.hosts[which % 2]
        inventory = [of(key) for key, agent in host.agents.items() if agent.reported]
        host.attached = False
        for key, agent in host.agents.items() if which == 2 else ():
            self.launched(host, key, agent)
        host.attached = True
        attached = events.HostAttached, {"inventory": inventory}
        ready = events.EnvironmentChanged, {"environment": "default", "ready": True}
        for kind, fields in (*host.reports.values(), attached, ready):
            if host.attached:  # until the coordinator crashes
                self.tell(kind, host=host.id, **fields)

    def detach(self, which: int) -> None:
        for host in self.hosts[which : which + 1]:
            host.attached = False
            self.tell(events.HostDetached, host=host.id)

    def lose(self, which: int) -> None:
        for host in self.hosts[which : which + 1]:
            self.fate = ""  # a host is in the store until its loss is recorded, so the next coordinator would tell it
            self.gone += host.agents
            self.hosts.remove(host)
            self.tell(events.HostLost, host=host.id)

    def drain(self, which: int) -> None:
        self.tell(events.DrainBegan, reply=None) if which == 0 else self.tell(events.DrainExpired, grace_seconds=1)

    def crash(self, which: int) -> None:
        self.fate = ("", "before the commit", "after the commit")[which]
        if not self.fate:
            self.start()

    @invariant()
    def memory_is_what_is_stored_and_what_runs_is_known(self) -> None:
        assert self.live() == sorted(self.state.tasks)
        for task_id, record in self.state.tasks.items():
            assert self.stored(task_id).task == record.task
        for host, key, agent in self.all_agents():
            assert not (host.attached and agent.reported) or key in self.state.alive or agent.doomed

    @invariant()
    def attempts_are_in_order(self) -> None:
        alive, tasks = self.state.alive, self.state.tasks
        assert len(alive) <= LIMITS.concurrency
        assert sorted(alive) == sorted((task_id, number) for task_id, r in tasks.items() for number in r.alive)
        running = [r for r in tasks.values() if r.task.state in (lifecycle.LAUNCHING, lifecycle.RUNNING)]
        assert all(attempt_id(record) in alive for record in running)
        # Whoever can still take a task or speak for it is known to be there.
        newest = {attempt_id(tasks[task_id]) for task_id in self.state.credentials.values()}
        assert newest <= set(alive)
        assert {attempt_id(record) for record in running} <= newest
        assert set(self.state.tokens.values()) <= set(alive)
        for host in self.state.hosts.values():
            assert host.loads.keys() == {key for key, owner in alive.items() if owner == host.id}
        specs = [self.state.tasks[key[0]].task.spec for key in alive]
        assert +self.state.shares.alive == Counter(spec.tenant for spec in specs)
        assert +self.state.behaviours == Counter(spec.behaviour for spec in specs)

    @invariant()
    def queue_and_sessions_are_in_order(self) -> None:
        queued = [r.task.id for r in self.state.tasks.values() if r.task.state == lifecycle.QUEUED]
        assert len(self.state.queue) == len(queued)
        assert self.state.queue.counts == Counter(self.state.tasks[task_id].task.spec.tenant for task_id in queued)
        assert all(task_id in self.state.queue for task_id in queued)
        running = (lifecycle.LAUNCHING, lifecycle.RUNNING)
        busy = Counter(r.task.spec.session for r in self.state.tasks.values() if r.task.state in running)
        assert all(count == 1 for session, count in busy.items() if session)
        for session in ("s", "t"):
            assert self.session(session).version == self.session_writes[session]
            assert len(self.store.scan(keys.items_of(session))) == self.session_writes[session]

    @invariant()
    def no_end_is_ever_changed(self) -> None:
        for entry in self.store.scan(keys.TASK):
            task = records_pb2.TaskRecord.FromString(entry.record.value).task
            (result,) = self.store.get([keys.result_of(task.id)])
            assert (result is not None) == (task.state == lifecycle.SUCCEEDED)
            if task.state in lifecycle.ENDED:
                end = int(task.state), result.value if result else None
                assert self.ended.setdefault(task.id, end) == end
            else:
                assert task.id in self.state.tasks, "lost"
                assert task.id not in self.ended
        assert all(self.stored(task_id) for task_id in self.accepted.values())
        self.sound = True  # invariants are looked at in their order

    def teardown(self) -> None:
        """Let everything come to its end: nothing may be stuck."""
        if not self.sound:
            return
        self.start()
        for _ in range(200 if self.state.tasks else 0):
            self.attach(0)
            self.attach(1)
            for _ in range(len(self.burials)):
                self.bury()
            for _ in range(len(self.alarms)):
                self.ring(0)
            for host, key, agent in self.all_agents():
                for step in (self.launched, self.take, self.complete, self.exit):
                    step(host, key, agent)
            if not self.state.tasks:
                break
        assert self.state.tasks == {}

    def stored(self, task_id: str) -> records_pb2.TaskRecord:
        (found,) = self.store.get([keys.task(task_id)])
        assert found
        return records_pb2.TaskRecord.FromString(found.value)

    def session(self, name: str) -> records_pb2.SessionRecord:
        (found,) = self.store.get([keys.session(name)])
        return records_pb2.SessionRecord.FromString(found.value) if found else records_pb2.SessionRecord()

    def live(self) -> list[str]:
        return [entry.key.removeprefix(keys.LIVE).decode() for entry in self.store.scan(keys.LIVE)]


def of(key: AttemptId) -> host_service_pb2.Launched:
    return host_service_pb2.Launched(attempt=host_service_pb2.AttemptKey(task_id=key[0], number=key[1]))


@pytest.mark.timeout(600)  # a failure takes its time until it is as short as it can be
def test_the_core_keeps_its_promises() -> None:
    print(f"HUNDREDFOLD_SEED={SEED}")
    run = settings(max_examples=80, stateful_step_count=50, deadline=None, database=None, suppress_health_check=CHECKS)
    run_state_machine_as_test(seed(SEED)(CoreMachine), settings=run)
