"""What hosts say: that they are there, what they hold, and how attempts ended."""

from typing import Final

from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import attempt_pb2

from hundredfold_coordinator import keys
from hundredfold_coordinator.core import admission, alarms, handover, lifecycle
from hundredfold_coordinator.core.change import forget_attempt, forget_if_gone, note_process, requeue
from hundredfold_coordinator.core.conclusion import conclude
from hundredfold_coordinator.core.effects import Acknowledge, Bury, EndHost, Kill, Remind
from hundredfold_coordinator.core.events import (
    Buried,
    EnvironmentChanged,
    Exited,
    HostAttached,
    HostDetached,
    HostHeard,
    HostLost,
    HostRested,
    Launched,
    LaunchFailed,
    MachineMeasured,
)
from hundredfold_coordinator.core.exit import failure_of, receipt_of
from hundredfold_coordinator.core.learning import learn
from hundredfold_coordinator.core.state import AttemptId, HostState, State, attempt_id
from hundredfold_coordinator.core.timing import kill, watch_limit
from hundredfold_coordinator.core.transaction import Transaction

REST_SECONDS: Final = 1.0
"""How long nothing is launched on a host that could make no process."""


def attach(state: State, tx: Transaction, event: HostAttached) -> None:
    """Take up a host: adopt what both sides know, end what only it knows, start again what only this side knows."""
    # What a host has is workers: they are known by the attempts they were made for.
    here = {state.residents.key_of(key): key for key, host in state.alive.items() if host == event.host}
    idle = {resident.key for resident in state.residents if resident.host == event.host} - here.keys()
    there = {(launched.attempt.task_id, launched.attempt.number): launched for launched in event.inventory}
    host = state.hosts[event.host] = HostState(event.host, retiring=event.retiring)
    for worker, key in sorted(here.items()):
        _take_up(state, host, worker, key)
    for resident in state.residents:
        if resident.key in there:
            resident.process = there[resident.key].process
        if resident.key in idle:
            admission.take_up(state, host, resident.key, resident.crew.behaviour, resident.made_ns, 0, known=True)
    for worker in sorted(there.keys() - here.keys() - idle):
        tx.then(Kill(event.host, worker, 0))
    for worker in sorted(there.keys() & here.keys()):
        _adopt(state, tx, here[worker], there[worker].process)
    for worker in sorted(here.keys() - there.keys()):
        tx.then(Kill(event.host, worker, 0))  # in case it is being forked at this very moment
        _lose(state, tx, here[worker], attempt_pb2.ATTEMPT_OUTCOME_LAUNCH_FAILED, "the host never started it")
    for worker in (here.keys() | idle) - there.keys():
        _lose_resident(state, tx, worker, "its host does not have it")
    if event.retiring and not host.loads:
        tx.then(EndHost(event.host))


def _adopt(state: State, tx: Transaction, key: AttemptId, process: records_pb2.ProcessIdentity) -> None:
    record = state.tasks[key[0]]
    note_process(state, tx, record, key, process)
    if _is_running(record, key) and not record.HasField("end_request"):
        watch_limit(state, tx, record)
    else:  # whoever wanted it to end may have said so while the host could not hear it
        kill(state, tx, key, state.limits.grace_seconds)


def _take_up(state: State, host: HostState, worker: AttemptId, key: AttemptId) -> None:
    task = state.tasks[key[0]].task
    attempt = task.attempts[key[1] - 1]
    launched_ns = attempt.launch_time.ToNanoseconds()
    admission.take_up(state, host, worker, task.spec.behaviour, launched_ns, attempt.reservation_bytes, known=True)


def detach(state: State, _tx: Transaction, event: HostDetached) -> None:
    """Start nothing on a host that cannot be reached; what runs there goes on."""
    state.hosts.pop(event.host, None)


def heard(state: State, _tx: Transaction, event: HostHeard) -> None:
    """Start nothing on a host that says nothing, until it does again."""
    host = state.hosts.get(event.host)
    if host:
        host.silent = event.silent


def lose(state: State, tx: Transaction, event: HostLost) -> None:
    """Give up everything that a dead host ran, and the host itself, in one commit."""
    state.hosts.pop(event.host, None)
    tx.delete(keys.host(event.host))
    gone = [resident for resident in state.residents if resident.host == event.host]
    for key in sorted(key for key, host in state.alive.items() if host == event.host):
        record = state.tasks[key[0]]
        if _is_running(record, key):
            message = f"host {event.host} is gone"
            outcome = attempt_pb2.ATTEMPT_OUTCOME_HOST_LOST
            conclude(state, tx, record, attempt_pb2.Failure(outcome=outcome, type="HostLost", message=message))
        process = records_pb2.ProcessIdentity()
        process.CopyFrom(record.alive[key[1]].process)
        if process.pid:
            tx.then(Bury(key, process))  # it counts as alive until it has been found and killed
        else:
            forget_attempt(state, tx, record, key)
            forget_if_gone(state, tx, record)
    for resident in gone:
        if resident.current is None and resident.process.pid:
            tx.then(Bury(resident.key, resident.process))
        handover.lose(state, tx, resident, f"host {event.host} is gone")


def buried(state: State, tx: Transaction, event: Buried) -> None:
    """Write what can still be said of an attempt whose host was lost."""
    record = state.tasks.get(event.attempt[0])
    if record and event.attempt in state.alive:
        _write_receipt(state, tx, record, event.attempt, event.receipt)
        forget_if_gone(state, tx, record)


def change_environment(state: State, _tx: Transaction, event: EnvironmentChanged) -> None:
    """Note where an environment can run."""
    host = state.hosts.get(event.host)
    if host and event.ready:
        host.environments[event.environment] = event.behaviours
    elif host:
        host.environments.pop(event.environment, None)


def measure(state: State, _tx: Transaction, event: MachineMeasured) -> None:
    """Note what a machine has left, and what attempts use."""
    host = state.hosts.get(event.host)
    if host:
        host.machine = event.machine
        for usage in event.attempts:
            key = usage.attempt.task_id, usage.attempt.number
            admission.note_use(state, host, key, usage.pss_bytes, event.now_ns)
            resident = state.residents.get(key)
            if resident:
                resident.used_bytes = usage.pss_bytes
        admission.reassess(state, host, event.now_ns)
        reserved, workers = host.outstanding_bytes, len(host.loads)
        state.history.note(host.id, host.machine, reserved_bytes=reserved, workers=workers, now_ns=event.now_ns)


def launched(state: State, tx: Transaction, event: Launched) -> None:
    """Note the process of an attempt, or of a resident, which may be at another one by now."""
    resident = state.residents.get(event.attempt)
    if resident:
        resident.process = event.process
    if resident and event.attempt not in state.alive:
        if resident.current:
            note_process(state, tx, state.tasks[resident.current[0]], resident.current, event.process)
        tx.then(Acknowledge(event.host, event.number))
        return
    record = _alive(state, event.attempt)
    running = record is not None and _is_running(record, event.attempt)
    # One that has delivered already is noted, too, if nobody told of it before: it may be left behind by its host.
    if record and (running or not record.alive[event.attempt[1]].process.pid):
        note_process(state, tx, record, event.attempt, event.process)
    if record and running:
        if not record.HasField("end_request"):
            watch_limit(state, tx, record)
    else:
        tx.then(Kill(event.host, event.attempt, 0))
    tx.then(Acknowledge(event.host, event.number))


def launch_failed(state: State, tx: Transaction, event: LaunchFailed) -> None:
    """Queue a task again whose process could not be made; if that will pass, it has cost the task no attempt."""
    resident = state.residents.get(event.attempt)
    key = (resident and resident.current) or event.attempt  # if it has begun after all, it may be at another one
    record = _alive(state, key)
    _lose_resident(state, tx, event.attempt, event.reason)
    waiting = record and record.task.state == lifecycle.LAUNCHING and not record.HasField("end_request")
    if record and event.transient and waiting and attempt_id(record) == event.attempt:
        _rest(state, tx, event)
        forget_attempt(state, tx, record, event.attempt)
        del record.task.attempts[-1]
        requeue(state, tx, record, event.reason)
    elif record:
        _lose(state, tx, key, attempt_pb2.ATTEMPT_OUTCOME_LAUNCH_FAILED, event.reason)
    tx.then(Acknowledge(event.host, event.number))


def rested(state: State, _tx: Transaction, event: HostRested) -> None:
    """Let a host try again."""
    host = state.hosts.get(event.host)
    if host:
        host.exhausted = ""


def _rest(state: State, tx: Transaction, event: LaunchFailed) -> None:
    host = state.hosts.get(event.host)
    if host and not host.exhausted:
        host.exhausted = event.reason
        rested_then = HostRested(now_ns=tx.now_ns, host=event.host)
        tx.then(Remind(alarms.host(event.host), REST_SECONDS, rested_then))


def exited(state: State, tx: Transaction, event: Exited) -> None:
    """Write the receipt of an attempt; if nothing has ended it before, this is its end."""
    record = _alive(state, event.attempt)
    resident = state.residents.get(event.attempt)
    if resident:
        handover.end(state, tx, resident, event.receipt)
    elif record:
        running = _is_running(record, event.attempt)
        failure = failure_of(event.receipt, record.task.spec.limits)
        if admission.had_it_all(state, event.attempt, event.receipt.peak_pss_bytes):
            failure.non_retryable |= failure.outcome == attempt_pb2.ATTEMPT_OUTCOME_EVICTED
        _write_receipt(state, tx, record, event.attempt, event.receipt)
        if running:
            conclude(state, tx, record, failure)
        learn(state, tx, record, event.attempt)
        forget_if_gone(state, tx, record)
    tx.then(Acknowledge(event.host, event.number))


def _lose_resident(state: State, tx: Transaction, worker: AttemptId, why: str) -> None:
    resident = state.residents.get(worker)
    if resident:
        handover.lose(state, tx, resident, why)


def _lose(
    state: State, tx: Transaction, key: AttemptId, outcome: attempt_pb2.AttemptOutcome.ValueType, reason: str
) -> None:
    """End an attempt that has no process."""
    record = state.tasks[key[0]]
    running = _is_running(record, key)
    forget_attempt(state, tx, record, key)
    if running:
        conclude(state, tx, record, attempt_pb2.Failure(outcome=outcome, type="LaunchFailed", message=reason))
    forget_if_gone(state, tx, record)


def _write_receipt(
    state: State, tx: Transaction, record: records_pb2.TaskRecord, key: AttemptId, receipt: attempt_pb2.Receipt
) -> None:
    record.task.attempts[key[1] - 1].receipt.CopyFrom(receipt_of(record, key[1], receipt))
    forget_attempt(state, tx, record, key)


def _is_running(record: records_pb2.TaskRecord, key: AttemptId) -> bool:
    """Whether an attempt is what its task is waiting for; it may also have delivered, or have been given up."""
    return attempt_id(record) == key and record.task.state in (lifecycle.LAUNCHING, lifecycle.RUNNING)


def _alive(state: State, key: AttemptId) -> records_pb2.TaskRecord | None:
    return state.tasks.get(key[0]) if key in state.alive else None
