"""Plays at random with the whole core, crashes included, against a world of hosts and agents as they really are.

`HUNDREDFOLD_SEED` chooses another random run than the usual one; the seed is printed.
"""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hundredfold.internal.v1 import host_service_pb2, records_pb2
from hundredfold.v1 import attempt_pb2, payload_pb2, policy_pb2, session_pb2, task_pb2
from hundredfold_coordinator import keys
from hundredfold_coordinator.core import dropping, effects, events, lifecycle
from hundredfold_coordinator.core.crew import crew_of
from hundredfold_coordinator.core.state import AttemptId, attempt_id
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test
from stage import LIMITS, MIB, Agent, Host, Stage, of

SEED = int(os.environ.get("HUNDREDFOLD_SEED", "1"))
ACTS = ["launched", "take", "save", "complete", "fail", "emit", "exit", "evict", "cancel", "ask", "give_up"]
CHECKS = [HealthCheck.too_slow, HealthCheck.filter_too_much]
NOBODY = Agent("", None)
REJECT, CONCURRENT = task_pb2.SESSION_POLICY_REJECT, task_pb2.SESSION_POLICY_CONCURRENT
INTERRUPT, ROLLBACK = task_pb2.SESSION_POLICY_INTERRUPT, task_pb2.SESSION_POLICY_ROLLBACK
SPECS = st.fixed_dictionaries(
    {
        "session": st.sampled_from(["", "s", "s", "s", "t"]),
        "session_policy": st.sampled_from([*task_pb2.SessionPolicy.values(), INTERRUPT, ROLLBACK]),
        "tenant": st.sampled_from(["", "a", "b"]),
        "behaviour": st.sampled_from(["light", "heavy"]),
        "priority": st.integers(-1, 1),
        "strategy": st.sampled_from([0, 0, *[task_pb2.STRATEGY_POOL] * 3, task_pb2.STRATEGY_STATEFUL]),
        "limits": st.sampled_from([0, 0, 0, 150, 400]).map(
            lambda mebibytes: policy_pb2.Limits(memory_bytes=mebibytes * MIB)
        ),
        "input": st.sampled_from([0, 200]).map(lambda size: payload_pb2.Payload(data=b"x" * size)),
    }
)


class CoreMachine(Stage):
    def __init__(self) -> None:
        super().__init__()
        self.attach(0)

    @rule(wish=SPECS, repeat=st.integers(0, 3), cancel=st.integers(0, 7))
    def submit(self, wish: dict[str, Any], repeat: int, cancel: int) -> None:
        self.count += 1
        request_id = f"r{max(1, self.count - repeat)}"  # perhaps one that was never answered
        (found,) = self.store.get([keys.request(request_id)])
        stored = records_pb2.RequestRecord.FromString(found.value) if found else None
        task_id, spec = f"{self.count:04}", task_pb2.TaskSpec(environment="default", **wish)
        before = self.before(spec)
        refused = not stored and (self.is_full(spec) or (bool(before) and spec.session_policy == REJECT))
        fields = {"request_id": request_id, "digest": b"d", "stored": stored, "reply": "client"}
        answer = self.tell(events.Submitted, task_id=task_id, spec=spec, **fields)
        if self.has(keys.task(task_id)) and spec.session_policy in (INTERRUPT, ROLLBACK):
            self.overtake(before, spec.session_policy)
        assert answer is None or isinstance(answer, effects.Refuse) == refused
        if isinstance(answer, effects.Reply):
            assert self.accepted.setdefault(request_id, str(answer.value)) == answer.value
            if not cancel:
                self.cancel(Host("none"), (str(answer.value), 0), NOBODY)

    @rule(strategy=st.sampled_from([task_pb2.STRATEGY_POOL, task_pb2.STRATEGY_STATEFUL]))
    def crowd(self, strategy: task_pb2.Strategy.ValueType) -> None:
        """Have more for the workers of one behaviour to do than there are of them."""
        for _ in range(LIMITS.pool_size + 1):
            self.submit({"behaviour": "light", "strategy": strategy}, 0, 1)

    def before(self, spec: task_pb2.TaskSpec) -> list[str]:
        """Return the tasks that have the session of another one, or wait for it."""
        live = [r.task for r in self.state.tasks.values() if r.task.state not in lifecycle.ENDED and spec.session]
        return [t.id for t in live if (t.spec.session, t.spec.session_policy != CONCURRENT) == (spec.session, True)]

    def is_full(self, spec: task_pb2.TaskSpec) -> bool:
        """Whether there is no room for a task."""
        queued = [r for r in self.state.tasks.values() if r.task.state == lifecycle.QUEUED]
        tenant = sum(r.task.spec.tenant == spec.tenant for r in queued)
        size = sum(r.input_bytes for r in queued) + spec.input.ByteSize()
        full = len(queued) >= LIMITS.queue_limit or tenant >= LIMITS.tenant_queue_limit or size > LIMITS.queue_bytes
        return full or self.state.draining

    def overtake(self, before: list[str], policy: task_pb2.SessionPolicy.ValueType) -> None:
        """Note that another task has taken the session of these."""
        for task_id in before:
            record = self.stored(task_id)
            asked = record.end_request.cause == records_pb2.END_CAUSE_CANCEL
            assert record.task.state == lifecycle.CANCELLED or (asked and record.alive)
            self.overtaken[task_id] = max(policy, self.overtaken.get(task_id, policy))
            if policy == ROLLBACK:
                self.saved.discard(task_id)

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
                self.saved.discard(task_id)
                self.accepted = {name: known for name, known in self.accepted.items() if known != task_id}
            return
        self.tell(events.RetryRequested, task_id=task_id, stored=stored, reply="client")
        if self.stored(task_id).task.state not in lifecycle.ENDED:
            assert stored.task.state != lifecycle.SUCCEEDED
            del self.ended[task_id]
            self.overtaken.pop(task_id, None)

    @precondition(lambda self: self.all_agents() != [])
    @rule(which=st.integers(0, 9), what=st.sampled_from(ACTS))
    def act(self, which: int, what: str) -> None:
        getattr(self, what)(*self.all_agents()[which % len(self.all_agents())])

    @precondition(lambda self: self.all_agents() != [])
    @rule(
        which=st.integers(0, 9),
        deliver=st.sampled_from(["complete", "fail", "emit", "save"]),
        then=st.sampled_from(["exit", "exit", "stay", "stay", "lose the answer"]),
    )
    def work(self, which: int, deliver: str, then: str) -> None:
        agent = self.all_agents()[which % len(self.all_agents())]
        self.launched(*agent)
        self.take(*agent)
        self.fate = "after the commit" if then == "lose the answer" else self.fate
        getattr(self, deliver)(*agent)
        if then == "exit":
            self.exit(*agent)

    @precondition(lambda self: self.gone)
    @rule(which=st.integers(0, 9))
    def complete_late(self, which: int) -> None:
        late = sorted(self.gone, key=lambda key: key[0] in self.state.tasks)
        key = late[-1 - which % len(late)]
        self.complete(Host("none"), key, Agent("", key))

    def take(self, _host: Host, key: AttemptId, agent: Agent) -> None:
        found = self.state.by_credential(sha256(agent.credential.encode()).digest())
        if found is None and agent.stays:
            return  # it has an attempt behind it, and none before it
        token_text = f"{agent.credential}-{attempt_id(found) if found else key}"
        credential, token = (sha256(text.encode()).digest() for text in (agent.credential, token_text))
        answer = self.tell(events.Taken, process=None, reply="w", credential_hash=credential, token_hash=token)
        if isinstance(answer, effects.Reply):
            record: Any = answer.value
            agent.current = attempt_id(record)
            assert self.state.residents.key_of(agent.current) == key

    def ask(self, _host: Host, key: AttemptId, agent: Agent) -> None:
        if agent.stays and agent.current is None and not agent.doomed:
            agent.asking = True
            self.tell(events.Awaited, credential_hash=sha256(agent.credential.encode()).digest(), reply=("worker", key))

    def give_up(self, _host: Host, key: AttemptId, agent: Agent) -> None:
        if agent.asking:
            credential = sha256(agent.credential.encode()).digest()
            self.tell(events.Withdrawn, credential_hash=credential, waiter=("worker", key))

    def launched(self, host: Host, key: AttemptId, agent: Agent) -> None:
        if not agent.reported:
            agent.reported = True
            self.report(host, events.Launched, attempt=key, process=records_pb2.ProcessIdentity(pid=9))

    def complete(self, _host: Host, worker: AttemptId, agent: Agent) -> None:
        key = agent.current
        if key is None or self.store.get([keys.task(key[0])]) == [None]:
            return  # deleted
        before = self.stored(key[0]).task
        session, text = self.session(before.spec.session), f"{key}".encode()
        writes = session_pb2.SessionWrites(expected_version=session.version)
        keeps = before.spec.strategy == task_pb2.STRATEGY_STATEFUL  # it has its sessions in its own memory
        if before.spec.session and not keeps:
            writes.append.add(role="agent")
        fields = {"session": session, "session_writes": writes, "emitted": [], "digest": text}
        fields |= {"reply": ("worker", worker), "wants_next": agent.stays}
        self.tell(events.Completed, attempt=key, result=payload_pb2.Payload(data=text), **fields)
        if self.stored(key[0]).task.state != before.state:
            assert key == (before.id, len(before.attempts)), "a stale attempt has delivered"
            self.session_writes[before.spec.session] += not keeps

    def save(self, _host: Host, key: AttemptId, agent: Agent) -> None:
        key = agent.current or key
        answer = self.tell(events.CheckpointSaved, attempt=key, checkpoint=payload_pb2.Payload(data=b"1"), reply="w")
        # Whoever loses the answer to a crash may have saved it all the same.
        taken = isinstance(answer, effects.Reply) or (answer is None and self.has(keys.checkpoint_of(key[0])))
        if taken and self.overtaken.get(key[0]) != ROLLBACK:
            self.saved.add(key[0])

    def emit(self, _host: Host, key: AttemptId, agent: Agent) -> None:
        key = agent.current or key
        self.tell(events.Emitted, attempt=key, emitted=[task_pb2.Emitted(worker_sequence=1)], reply="w")

    def fail(self, _host: Host, worker: AttemptId, agent: Agent) -> None:
        key = agent.current or worker
        failure = attempt_pb2.Failure(outcome=attempt_pb2.ATTEMPT_OUTCOME_RAISED, type="E", message="m")
        fields = {"reply": ("worker", worker), "wants_next": agent.stays}
        self.tell(events.Failed, attempt=key, failure=failure, emitted=[], **fields)

    def cancel(self, _host: Host, key: AttemptId, agent: Agent) -> None:
        task_id, _ = agent.current or key
        self.tell(events.CancelRequested, task_id=task_id, reason="", reply="client")

    def evict(self, host: Host, key: AttemptId, agent: Agent) -> None:
        self.exit(host, key, agent, kill_cause=attempt_pb2.KILL_CAUSE_EVICTED, peak_pss_bytes=150 * MIB)

    def exit(self, host: Host, key: AttemptId, agent: Agent, **receipt: Any) -> None:
        self.gone.append(key)
        del host.agents[key]
        says = {"receipt": attempt_pb2.Receipt(**receipt)} if agent.reported else {"reason": "no fork"}
        self.report(host, events.Exited if agent.reported else events.LaunchFailed, attempt=key, **says)

    def report(self, host: Host, kind: Callable[..., events.Event], **fields: Any) -> None:
        host.number += 1
        host.reports[host.number] = kind, {"number": host.number, **fields}
        if host.attached:
            self.tell(kind, host=host.id, number=host.number, **fields)

    @rule(which=st.integers(0, 1), free=st.sampled_from([50, 150, 300, 300, 1000]), used=st.integers(0, 3))
    def measure(self, which: int, free: int, used: int) -> None:
        """Let a while pass, and a host say what is free in MiB."""
        self.now_ns += used * 500_000_000
        for host in [host for host in self.hosts[which : which + 1] if host.attached]:
            host.free = free
            keys_there = [of(key).attempt for key in host.agents]
            usages = [host_service_pb2.AttemptUsage(attempt=key, pss_bytes=used * 40 * MIB) for key in keys_there]
            self.tell(events.MachineMeasured, host=host.id, machine=host.measured(), attempts=usages)

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
        measured = events.MachineMeasured, {"machine": host.measured()}
        ready = events.EnvironmentChanged, {"environment": "default", "ready": True}
        for kind, fields in (*host.reports.values(), attached, measured, ready):
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
            stored = self.stored(task_id).task
            if not record.task.HasField("next_attempt_time"):
                stored.ClearField("next_attempt_time")  # it came while nobody was there, and is not worth a commit
            assert stored == record.task
        for host, key, agent in self.all_agents():
            known = key in self.state.alive or self.state.residents.get(key)
            assert not (host.attached and agent.reported) or known or agent.doomed
            resident = self.state.residents.get(key)
            if resident and resident.current and agent.current not in (None, resident.current):
                # It has not heard of what was handed to it, and says again what it has delivered: that must be known.
                assert agent.current in {resident.delivered and resident.delivered[0]} & set(self.state.tokens.values())

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
        residents = list(self.state.residents)
        said = {resident.delivered[0] for resident in residents if resident.delivered}
        assert set(self.state.tokens.values()) <= set(alive) | said
        for host in self.state.hosts.values():
            busy = {self.state.residents.key_of(key) for key, owner in alive.items() if owner == host.id}
            assert host.loads.keys() == busy | {one.key for one in residents if one.host == host.id}
        assert all(one.current in alive for one in residents if one.current)
        counting = [one for one in residents if one.crew.is_long_lived or not one.doomed]
        sizes = Counter(one.crew for one in counting)
        assert sizes == {one.crew: self.state.residents.size(one.crew) for one in counting}
        assert all(size <= (1 if crew.is_long_lived else LIMITS.pool_size) for crew, size in sizes.items())
        specs = [self.state.tasks[key[0]].task.spec for key in alive]
        tenants, behaviours = Counter(spec.tenant for spec in specs), Counter(spec.behaviour for spec in specs)
        assert (+self.state.shares.alive, +self.state.behaviours) == (tenants, behaviours)
        assert all(tenants[name] <= most for name, most in LIMITS.tenant_limits.items())
        assert all(behaviours[name] <= most for name, most in LIMITS.behaviour_limits.items())

    @invariant()
    def queue_and_sessions_are_in_order(self) -> None:
        queued = [r for r in self.state.tasks.values() if r.task.state == lifecycle.QUEUED]
        assert (len(self.state.queue), self.state.queue.size) == (len(queued), sum(r.input_bytes for r in queued))
        assert self.state.queue.counts == Counter(r.task.spec.tenant for r in queued)
        assert all(r.task.id in self.state.queue for r in queued)
        drops = self.state.drops.items()
        assert {keys.drop(one.task_id) for _, one in drops} == {one.key for one in self.store.scan(keys.DROP)}
        for crew, one in drops:
            assert {crew_of(self.state.tasks[task_id]) for task_id in one.waiting} <= {crew}
            assert one.waiting.keys() <= {r.task.id for r in queued}
        live = [r.task for r in self.state.tasks.values() if r.task.state in (lifecycle.LAUNCHING, lifecycle.RUNNING)]
        alone = [task for task in live if task.spec.session and task.spec.session_policy != CONCURRENT]
        assert max(Counter(task.spec.session for task in alone).values(), default=0) <= 1
        assert all(self.state.queue.holder(task.spec.session) == task.id for task in alone)
        for session in ("s", "t"):
            assert self.session(session).version == self.session_writes[session]
            assert len(self.store.scan(keys.items_of(session, 0))) == self.session_writes[session]

    @invariant()
    def no_end_is_ever_changed(self) -> None:
        for entry in self.store.scan(keys.TASK):
            task = records_pb2.TaskRecord.FromString(entry.record.value).task
            (result,) = self.store.get([keys.result_of(task.id)])
            assert (result is not None) == (task.state == lifecycle.SUCCEEDED)
            if task.state in lifecycle.ENDED:
                end = int(task.state), result.value if result else None
                assert self.ended.setdefault(task.id, end) == end
                # Who delivers before it hears that it is to end has delivered.
                assert task.id not in self.overtaken or task.state in (lifecycle.CANCELLED, lifecycle.SUCCEEDED)
                self.saved -= {task.id} if task.state == lifecycle.SUCCEEDED else set()
                assert self.has(keys.checkpoint_of(task.id)) == (task.id in self.saved)
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
            for which in (0, 1):
                self.attach(which)
                self.measure(which, 100_000, 0)
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


@pytest.mark.timeout(600)  # a failure takes its time until it is as short as it can be
def test_the_core_keeps_its_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropping, "PAGE", 1)
    print(f"HUNDREDFOLD_SEED={SEED}")
    run = settings(max_examples=160, stateful_step_count=50, deadline=None, database=None, suppress_health_check=CHECKS)
    run_state_machine_as_test(seed(SEED)(CoreMachine), settings=run)
