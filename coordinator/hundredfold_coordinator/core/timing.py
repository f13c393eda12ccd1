"""What time does: to tasks that may start, should have started or ended; to attempts that should be gone."""

from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import attempt_pb2, task_pb2

from hundredfold_coordinator.core import alarms, lifecycle
from hundredfold_coordinator.core.change import end_task, enqueue, hold
from hundredfold_coordinator.core.conclusion import conclude, expired
from hundredfold_coordinator.core.effects import Kill, Remind
from hundredfold_coordinator.core.events import CloseOverdue, Matured, Overrun, StartOverdue, Unresponsive
from hundredfold_coordinator.core.state import AttemptId, State, attempt_id, current_attempt
from hundredfold_coordinator.core.transaction import Transaction

CONFIRM_SECONDS: Final = 10.0
"""How long after an attempt should be dead its host may take to say so, before the attempt is given up."""


def set_deadlines(tx: Transaction, record: records_pb2.TaskRecord) -> None:
    """Set the alarms for a task's deadlines, from what is left of them."""
    task, spec = record.task, record.task.spec
    begin = record.deadlines_from.ToNanoseconds()
    if spec.HasField("schedule_to_close_timeout"):
        left = begin + spec.schedule_to_close_timeout.ToNanoseconds() - tx.now_ns
        close = CloseOverdue(now_ns=tx.now_ns, task_id=task.id)
        tx.then(Remind(alarms.close(task.id), max(0, left / 1e9), close))
    if spec.HasField("schedule_to_start_timeout") and len(task.attempts) == record.pardoned_attempts:
        begin = max(begin, spec.not_before.ToNanoseconds())
        left = begin + spec.schedule_to_start_timeout.ToNanoseconds() - tx.now_ns
        start = StartOverdue(now_ns=tx.now_ns, task_id=task.id)
        tx.then(Remind(alarms.start(task.id), max(0, left / 1e9), start))


def remaining_seconds(record: records_pb2.TaskRecord, now_ns: int) -> float | None:
    """Return how long the newest attempt may still run, by its limit and its task's deadline; None for any time."""
    spec = record.task.spec
    ends = []
    if spec.limits.wall_time.ToNanoseconds():
        ends.append(current_attempt(record).launch_time.ToNanoseconds() + spec.limits.wall_time.ToNanoseconds())
    if spec.HasField("schedule_to_close_timeout"):
        ends.append(record.deadlines_from.ToNanoseconds() + spec.schedule_to_close_timeout.ToNanoseconds())
    return max(0, min(ends) - now_ns) / 1e9 if ends else None


def hold_until(state: State, tx: Transaction, record: records_pb2.TaskRecord, begin: Timestamp) -> None:
    """Let a task wait until a moment; if that has passed, let it start as soon as there is room."""
    wait = (begin.ToNanoseconds() - tx.now_ns) / 1e9
    if wait > 0:
        hold(state, tx, record, wait)
    else:
        enqueue(state, record)


def matured(state: State, tx: Transaction, event: Matured) -> None:
    """Let a task start that had to wait for its time."""
    record = state.tasks.get(event.task_id)
    if record and record.task.state == lifecycle.QUEUED and record.task.HasField("next_attempt_time"):
        enqueue(state, record)
        tx.touch(record)


def start_overdue(state: State, tx: Transaction, event: StartOverdue) -> None:
    """Expire a task that has waited too long for its first attempt."""
    record = state.tasks.get(event.task_id)
    if record and record.task.state == lifecycle.QUEUED and len(record.task.attempts) == record.pardoned_attempts:
        seconds = record.task.spec.schedule_to_start_timeout.ToNanoseconds() / 1e9
        _expire(state, tx, record, f"it was to start within {seconds:g} s and had not")


def close_overdue(state: State, tx: Transaction, event: CloseOverdue) -> None:
    """Expire a task that has taken too long; if it runs, its process is asked to end first."""
    record = state.tasks.get(event.task_id)
    if record is None or record.task.state in lifecycle.ENDED or record.HasField("end_request"):
        return  # whoever wanted it to end before has the last word
    reason = f"it was to end within {record.task.spec.schedule_to_close_timeout.ToNanoseconds() / 1e9:g} s and had not"
    if record.task.state == lifecycle.QUEUED:
        _expire(state, tx, record, reason)
    else:
        ask_to_end(state, tx, record, records_pb2.END_CAUSE_EXPIRE, reason)


def ask_to_end(
    state: State, tx: Transaction, record: records_pb2.TaskRecord, cause: records_pb2.EndCause.ValueType, reason: str
) -> None:
    """Have the process of the newest attempt end; what that means for the task is decided when it is gone."""
    record.end_request.cause = cause
    record.end_request.reason = reason
    tx.touch(record)
    kill(state, tx, attempt_id(record), state.limits.grace_seconds)


def kill(
    state: State,
    tx: Transaction,
    key: AttemptId,
    grace_seconds: float,
    cause: attempt_pb2.KillCause.ValueType = attempt_pb2.KILL_CAUSE_REQUESTED,
) -> None:
    """Have an attempt's process ended, and have it given up if its host does not say in time that it was."""
    resident = state.residents.of(key)
    if resident:
        state.residents.doom(resident)
    tx.then(Kill(state.alive[key], state.residents.key_of(key), grace_seconds, cause))
    expect_end(tx, key, grace_seconds)


def expect_end(tx: Transaction, key: AttemptId, seconds: float) -> None:
    """Have an attempt given up that is not gone some time after it should be."""
    tx.then(Remind(alarms.attempt(key), seconds + CONFIRM_SECONDS, Unresponsive(now_ns=tx.now_ns, attempt=key)))


def watch_limit(state: State, tx: Transaction, record: records_pb2.TaskRecord) -> None:
    """Have the newest attempt given up if it outlives its wall limit: its host, which should end it, may hang.

    A resident's host does not know when one attempt ends and the next one begins: its attempts are ended from here.
    """
    limit = record.task.spec.limits.wall_time.ToNanoseconds() / 1e9
    key = attempt_id(record)
    if limit and state.residents.of(key):
        tx.then(Remind(alarms.attempt(key), limit, Overrun(now_ns=tx.now_ns, attempt=key)))
    elif limit:
        expect_end(tx, key, limit + state.limits.grace_seconds)


def overrun(state: State, tx: Transaction, event: Overrun) -> None:
    """End an attempt of a resident that has run as long as it may."""
    if event.attempt in state.alive:
        kill(state, tx, event.attempt, state.limits.grace_seconds, attempt_pb2.KILL_CAUSE_WALL_LIMIT)


def unresponsive(state: State, tx: Transaction, event: Unresponsive) -> None:
    """Give an attempt up whose process cannot be ended: its task goes on without it, and it can change nothing."""
    record = state.tasks.get(event.attempt[0])
    if record is None or event.attempt not in state.alive:
        return
    tx.then(Kill(state.alive[event.attempt], state.residents.key_of(event.attempt), 0))
    if attempt_id(record) == event.attempt and not current_attempt(record).outcome:
        message = "it should have ended, and its host does not say that it has; whatever it delivers is refused"
        failure = attempt_pb2.Failure(outcome=attempt_pb2.ATTEMPT_OUTCOME_FENCED, type="Unresponsive", message=message)
        conclude(state, tx, record, failure)


def _expire(state: State, tx: Transaction, record: records_pb2.TaskRecord, reason: str) -> None:
    dead = task_pb2.DEAD_LETTER_CAUSE_EXPIRED
    end_task(state, tx, record, lifecycle.EXPIRED, failure=expired(reason), dead=dead)
