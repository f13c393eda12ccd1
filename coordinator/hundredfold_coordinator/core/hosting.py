"""What hosts say: that they are there, what they hold, and how attempts ended."""

import signal
from typing import Final

from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import attempt_pb2, task_pb2

from hundredfold_coordinator import keys
from hundredfold_coordinator.core import lifecycle
from hundredfold_coordinator.core.change import (
    cancelled,
    end_attempt,
    end_task,
    forget_attempt,
    forget_if_gone,
    requeue,
)
from hundredfold_coordinator.core.effects import Acknowledge, Bury, Kill, Remind
from hundredfold_coordinator.core.events import (
    EnvironmentChanged,
    Exited,
    HostAttached,
    HostDetached,
    HostLost,
    HostRested,
    Launched,
    LaunchFailed,
    MachineMeasured,
)
from hundredfold_coordinator.core.state import AttemptId, HostState, State, attempt_id, current_attempt
from hundredfold_coordinator.core.transaction import Transaction

_BLAMELESS: Final = frozenset({attempt_pb2.ATTEMPT_OUTCOME_HOST_LOST, attempt_pb2.ATTEMPT_OUTCOME_LAUNCH_FAILED})
REST_SECONDS: Final = 1.0
"""How long nothing is launched on a host that could make no process."""

BLAMELESS_LIMIT: Final = 5
"""How many attempts a task may lose to hosts and launches, which are not its fault, before it fails."""


def attach(state: State, tx: Transaction, event: HostAttached) -> None:
    """Take up a host: adopt what both sides know, end what only it knows, start again what only this side knows."""
    here = {key for key, host in state.alive.items() if host == event.host}
    there = {(launched.attempt.task_id, launched.attempt.number): launched for launched in event.inventory}
    state.hosts[event.host] = HostState(event.host, attempts=here)
    for key in there.keys() - here:
        tx.then(Kill(event.host, key, 0))
    for key in sorted(there.keys() & here):
        record = state.tasks[key[0]]
        record.process.CopyFrom(there[key].process)
        # Whoever wanted it to end may have said so while the host could not hear it.
        if record.HasField("end_request") or record.task.state in lifecycle.ENDED:
            tx.then(Kill(event.host, key, state.limits.grace_seconds))
    for key in sorted(here - there.keys()):
        tx.then(Kill(event.host, key, 0))  # in case it is being forked at this very moment
        _lose(state, tx, key, attempt_pb2.ATTEMPT_OUTCOME_LAUNCH_FAILED, "the host never started it")


def detach(state: State, _tx: Transaction, event: HostDetached) -> None:
    """Start nothing on a host that cannot be reached; what runs there goes on."""
    state.hosts.pop(event.host, None)


def lose(state: State, tx: Transaction, event: HostLost) -> None:
    """Give up everything that a dead host ran, and the host itself, in one commit."""
    state.hosts.pop(event.host, None)
    tx.delete(keys.host(event.host))
    for key in sorted(key for key, host in state.alive.items() if host == event.host):
        process = records_pb2.ProcessIdentity()
        process.CopyFrom(state.tasks[key[0]].process)
        if process.pid:
            tx.then(Bury(process))
        _lose(state, tx, key, attempt_pb2.ATTEMPT_OUTCOME_HOST_LOST, f"host {event.host} is gone")


def change_environment(state: State, _tx: Transaction, event: EnvironmentChanged) -> None:
    """Note where an environment can run."""
    host = state.hosts.get(event.host)
    if host and event.ready:
        host.environments.add(event.environment)
    elif host:
        host.environments.discard(event.environment)


def measure(state: State, _tx: Transaction, event: MachineMeasured) -> None:
    """Note what a machine has left."""
    host = state.hosts.get(event.host)
    if host:
        host.memory_available_bytes = event.memory_available_bytes


def launched(state: State, tx: Transaction, event: Launched) -> None:
    """Note the process of an attempt."""
    record = _alive(state, event.attempt)
    if record:
        record.process.CopyFrom(event.process)
        current_attempt(record).pid = event.process.pid
        tx.touch(record)
    else:
        tx.then(Kill(event.host, event.attempt, 0))
    tx.then(Acknowledge(event.host, event.number))


def launch_failed(state: State, tx: Transaction, event: LaunchFailed) -> None:
    """Queue a task again whose process could not be made; if that will pass, it has cost the task no attempt."""
    record = _alive(state, event.attempt)
    waiting = record and record.task.state == lifecycle.LAUNCHING and not record.HasField("end_request")
    if record and event.transient and waiting:
        _rest(state, tx, event)
        forget_attempt(state, record)
        del record.task.attempts[-1]
        requeue(state, tx, record, event.reason)
    elif record:
        _lose(state, tx, event.attempt, attempt_pb2.ATTEMPT_OUTCOME_LAUNCH_FAILED, event.reason)
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
        tx.then(Remind(REST_SECONDS, HostRested(now_ns=tx.now_ns, host=event.host)))


def exited(state: State, tx: Transaction, event: Exited) -> None:
    """Write the receipt of an attempt; if the task has not ended before, this is its end."""
    record = _alive(state, event.attempt)
    if record:
        current_attempt(record).receipt.CopyFrom(event.receipt)
        tx.touch(record)
        forget_attempt(state, record)
        if record.task.state not in lifecycle.ENDED:
            _end_by_exit(state, tx, record, event.receipt)
        forget_if_gone(state, tx, record)
    tx.then(Acknowledge(event.host, event.number))


def _end_by_exit(state: State, tx: Transaction, record: records_pb2.TaskRecord, receipt: attempt_pb2.Receipt) -> None:
    cause, reason = record.end_request.cause, record.end_request.reason
    if cause == records_pb2.END_CAUSE_DRAIN:
        end_attempt(tx, record, attempt_pb2.ATTEMPT_OUTCOME_DRAINED)
        requeue(state, tx, record, reason)
    elif cause == records_pb2.END_CAUSE_CANCEL:
        _end_with(state, tx, record, cancelled(reason), lifecycle.CANCELLED)
    elif receipt.kill_signals:
        give_up(state, tx, record, attempt_pb2.ATTEMPT_OUTCOME_HOST_LOST, "its host was told to end")
    else:
        _end_with(state, tx, record, _describe_exit(receipt), lifecycle.FAILED)


def _end_with(
    state: State,
    tx: Transaction,
    record: records_pb2.TaskRecord,
    failure: attempt_pb2.Failure,
    after: task_pb2.TaskState.ValueType,
) -> None:
    record.task.failure.CopyFrom(failure)
    end_attempt(tx, record, failure.outcome)
    end_task(state, tx, record, after, reason=failure.message)


def _describe_exit(receipt: attempt_pb2.Receipt) -> attempt_pb2.Failure:
    last = receipt.stderr_tail.decode(errors="replace").strip().rsplit("\n", 1)[-1][:200]
    said = f"; its last words: {last}" if last else ""
    if receipt.signal:
        name = signal.Signals(receipt.signal).name if receipt.signal in set(signal.Signals) else str(receipt.signal)
        message = f"the agent was ended by {name}, which Hundredfold did not send{said}"
        return attempt_pb2.Failure(outcome=attempt_pb2.ATTEMPT_OUTCOME_SIGNALLED, type=name, message=message)
    code = receipt.exit_code if receipt.HasField("exit_code") else "unknown"
    message = f"the agent exited with code {code} before it delivered a result{said}"
    return attempt_pb2.Failure(outcome=attempt_pb2.ATTEMPT_OUTCOME_EXITED, type="Exited", message=message)


def _lose(
    state: State, tx: Transaction, key: AttemptId, outcome: attempt_pb2.AttemptOutcome.ValueType, reason: str
) -> None:
    """End an attempt whose process is lost."""
    record = state.tasks[key[0]]
    forget_attempt(state, record)
    if record.task.state in lifecycle.ENDED:
        forget_if_gone(state, tx, record)
        return
    give_up(state, tx, record, outcome, reason)


def give_up(
    state: State,
    tx: Transaction,
    record: records_pb2.TaskRecord,
    outcome: attempt_pb2.AttemptOutcome.ValueType,
    reason: str,
) -> None:
    """End an attempt for a reason that is not its own: the task is queued again, a limited number of times."""
    end_attempt(tx, record, outcome)
    if record.end_request.cause == records_pb2.END_CAUSE_CANCEL:
        record.task.failure.CopyFrom(cancelled(record.end_request.reason))
        end_task(state, tx, record, lifecycle.CANCELLED, reason=record.end_request.reason)
    elif sum(attempt.outcome in _BLAMELESS for attempt in record.task.attempts) < BLAMELESS_LIMIT:
        requeue(state, tx, record, reason)
    else:
        failure = attempt_pb2.Failure(
            outcome=outcome, type="Lost", message=f"{BLAMELESS_LIMIT} times in vain: {reason}"
        )
        record.task.failure.CopyFrom(failure)
        end_task(state, tx, record, lifecycle.FAILED, reason=failure.message)


def _alive(state: State, key: AttemptId) -> records_pb2.TaskRecord | None:
    record = state.tasks.get(key[0])
    return record if record and key in state.alive and attempt_id(record) == key else None
