"""Changes of a task's state, each with its event: the only place that assigns one."""

from typing import Final

from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import attempt_pb2, payload_pb2, task_pb2

from hundredfold_coordinator import keys
from hundredfold_coordinator.core import alarms, lifecycle
from hundredfold_coordinator.core.admission import give_back
from hundredfold_coordinator.core.crew import crew_of
from hundredfold_coordinator.core.effects import Announce, Dismiss, EndHost, Remind
from hundredfold_coordinator.core.events import Matured
from hundredfold_coordinator.core.queue import Lane
from hundredfold_coordinator.core.retry import SUSPECT_LOSSES, losses
from hundredfold_coordinator.core.state import AttemptId, HostState, State, attempt_id, current_attempt
from hundredfold_coordinator.core.transaction import Transaction

_NEVER_SECONDS: Final = 1e12


def move(
    tx: Transaction, record: records_pb2.TaskRecord, after: task_pb2.TaskState.ValueType, reason: str = ""
) -> None:
    """Put a task into another state.

    Raises:
        IllegalTransition: the state may not follow the present one.

    """
    lifecycle.check(record.task.state, after)
    record.task.state = after
    change = task_pb2.StateChange(state=after, reason=reason)
    tx.tell(record, task_pb2.Event(attempt=len(record.task.attempts), state_change=change))


def note_process(
    state: State, tx: Transaction, record: records_pb2.TaskRecord, key: AttemptId, process: records_pb2.ProcessIdentity
) -> None:
    """Note which process runs an attempt, and those after it if its worker stays."""
    resident = state.residents.of(key)
    if resident:
        resident.process = process
    record.alive[key[1]].process.CopyFrom(process)
    record.task.attempts[key[1] - 1].pid = process.pid
    tx.touch(record)


def end_attempt(
    tx: Transaction,
    record: records_pb2.TaskRecord,
    outcome: attempt_pb2.AttemptOutcome.ValueType,
    failure: attempt_pb2.Failure | None = None,
) -> None:
    """Note how the newest attempt ended."""
    attempt = current_attempt(record)
    attempt.outcome = outcome
    attempt.end_time.CopyFrom(tx.now)
    if failure:
        attempt.failure.CopyFrom(failure)
    record.ClearField("end_request")
    tx.touch(record)


def end_task(
    state: State,
    tx: Transaction,
    record: records_pb2.TaskRecord,
    after: task_pb2.TaskState.ValueType,
    *,
    failure: attempt_pb2.Failure | None = None,
    dead: task_pb2.DeadLetterCause.ValueType = task_pb2.DEAD_LETTER_CAUSE_UNSPECIFIED,
    result: payload_pb2.Payload | None = None,
) -> None:
    """End a task: its session is free, its waiters are told; its process may still be there."""
    task = record.task
    task.end_time.CopyFrom(tx.now)
    _dismiss_deadlines(tx, task)
    if failure:
        task.failure.CopyFrom(failure)
    if dead:
        task.dead_letter_cause = dead
        state.dead += 1
        tx.put(keys.dead(task.id))
    move(tx, record, after, summary(failure) if failure else "")
    state.ended[after] += 1
    state.queue.remove(task.id, task.spec.session)
    if after == lifecycle.SUCCEEDED or record.drop_checkpoint:
        tx.delete(keys.checkpoint_of(task.id))
    snapshot = task_pb2.Task()
    snapshot.CopyFrom(task)
    tx.then(Announce(snapshot, result))
    forget_if_gone(state, tx, record)


def summary(failure: attempt_pb2.Failure) -> str:
    """Return a failure in one sentence."""
    named = failure.outcome == attempt_pb2.ATTEMPT_OUTCOME_RAISED
    return f"{failure.type}: {failure.message}" if named else failure.message


def note_attempt(state: State, tx: Transaction, record: records_pb2.TaskRecord, host: str) -> None:
    """Note what the newest attempt takes of what there is for all, wherever its process comes from."""
    key, spec = attempt_id(record), record.task.spec
    state.alive[key] = host
    state.shares.start(spec.tenant)
    state.behaviours[spec.behaviour] += 1
    state.starts.note(tx.now_ns)
    if losses(record) >= SUSPECT_LOSSES:
        state.suspects.add(key)


def forget_attempt(state: State, tx: Transaction, record: records_pb2.TaskRecord, key: AttemptId) -> None:
    """Free what an attempt held: its process is gone, and its secrets with it."""
    spec = record.task.spec
    if key in state.alive:
        state.shares.end(spec.tenant)
        state.behaviours[spec.behaviour] -= 1
    host = state.hosts.get(state.alive.pop(key, ""))
    if host and not state.residents.of(key):  # what a resident takes, it takes until it ends
        vacate(tx, host, key)
    state.suspects.discard(key)
    record.alive.pop(key[1], None)
    if attempt_id(record) == key:
        forget_credential(state, record)
        state.tokens.pop(record.token_hash, None)
        record.ClearField("token_hash")
    else:  # it was given up before; its token was known only so that what it still says is refused
        state.tokens = {token: owner for token, owner in state.tokens.items() if owner != key}
    tx.then(Dismiss(alarms.attempt(key)))
    tx.touch(record)


def vacate(tx: Transaction, host: HostState, worker: AttemptId) -> None:
    """Note that a worker takes nothing of its host any more."""
    give_back(host, worker, tx.now_ns)
    if host.retiring and not host.loads:
        tx.then(EndHost(host.id))


def forget_credential(state: State, record: records_pb2.TaskRecord) -> None:
    """Let nobody take the newest attempt any more."""
    state.credentials.pop(record.credential_hash, None)
    record.ClearField("credential_hash")


def forget_if_gone(state: State, tx: Transaction, record: records_pb2.TaskRecord) -> None:
    """Take a task out of memory and out of recovery's way, once it has ended and its processes are gone."""
    if record.task.state in lifecycle.ENDED and not record.alive:
        state.tasks.pop(record.task.id, None)
        tx.delete(keys.live(record.task.id))


def requeue(
    state: State, tx: Transaction, record: records_pb2.TaskRecord, reason: str, *, after_seconds: float = 0
) -> None:
    """Give a task back to the queue, in its old place; it keeps its session while it waits for its time."""
    forget_credential(state, record)
    move(tx, record, lifecycle.QUEUED, reason)
    if after_seconds > 0:
        if session_of(record):
            state.queue.reserve(record.task.id, session_of(record))
        hold(state, tx, record, after_seconds)
    else:
        enqueue(state, record)


def hold(state: State, tx: Transaction, record: records_pb2.TaskRecord, seconds: float) -> None:
    """Let a task wait for its time."""
    task = record.task
    task.next_attempt_time.FromNanoseconds(tx.now_ns + int(seconds * 1e9))
    state.queue.hold(task.id, task.spec.tenant, record.input_bytes, crew_of(record))
    tx.then(Remind(alarms.ready(task.id), seconds, Matured(now_ns=tx.now_ns, task_id=task.id)))
    tx.touch(record)


def enqueue(state: State, record: records_pb2.TaskRecord) -> None:
    """Put a task where the scheduler finds it."""
    record.task.ClearField("next_attempt_time")
    state.queue.add(record.task.id, lane(record), session_of(record), rank(state, record), record.input_bytes)


def session_of(record: records_pb2.TaskRecord) -> str:
    """Return the session that a task has to itself; none if it runs beside the others, and does not wait for them."""
    spec = record.task.spec
    return "" if spec.session_policy == task_pb2.SESSION_POLICY_CONCURRENT else spec.session


def lane(record: records_pb2.TaskRecord) -> Lane:
    """Return the lane that a task waits in."""
    spec = record.task.spec
    return Lane(spec.tenant, spec.environment, spec.behaviour, losses(record), crew_of(record))


def rank(state: State, record: records_pb2.TaskRecord) -> float:
    """Return a task's rank in its lane: its submission, as much earlier as its priority is worth.

    As all of them age at the same speed, who is ahead of whom never changes while they wait.
    """
    return record.turn_ns / 1e9 - record.task.spec.priority * (state.limits.priority_ageing_seconds or _NEVER_SECONDS)


def _dismiss_deadlines(tx: Transaction, task: task_pb2.Task) -> None:
    """Let no alarm ring for a task that has ended. Most have none, and no dismissal is to be paid for."""
    if task.spec.HasField("schedule_to_start_timeout"):
        tx.then(Dismiss(alarms.start(task.id)))
    if task.spec.HasField("schedule_to_close_timeout"):
        tx.then(Dismiss(alarms.close(task.id)))
    if task.HasField("next_attempt_time"):
        task.ClearField("next_attempt_time")
        tx.then(Dismiss(alarms.ready(task.id)))
