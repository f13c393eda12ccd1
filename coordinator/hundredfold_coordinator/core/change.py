"""Changes of a task's state, each with its event: the only place that assigns one."""

from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import attempt_pb2, payload_pb2, task_pb2

from hundredfold_coordinator import keys
from hundredfold_coordinator.core import lifecycle
from hundredfold_coordinator.core.effects import Announce
from hundredfold_coordinator.core.state import State, attempt_id, current_attempt
from hundredfold_coordinator.core.transaction import Transaction


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


def end_attempt(tx: Transaction, record: records_pb2.TaskRecord, outcome: attempt_pb2.AttemptOutcome.ValueType) -> None:
    """Note how the newest attempt ended."""
    attempt = current_attempt(record)
    attempt.outcome = outcome
    attempt.end_time.FromNanoseconds(tx.now_ns)
    tx.touch(record)


def end_task(
    state: State,
    tx: Transaction,
    record: records_pb2.TaskRecord,
    after: task_pb2.TaskState.ValueType,
    *,
    reason: str = "",
    result: payload_pb2.Payload | None = None,
) -> None:
    """End a task: its session is free, its waiters are told; its process may still be there."""
    record.task.end_time.FromNanoseconds(tx.now_ns)
    move(tx, record, after, reason)
    state.ended[after] += 1
    spec = record.task.spec
    state.queue.remove(record.task.id, spec.session)
    tx.delete(keys.checkpoint_of(record.task.id))
    snapshot = task_pb2.Task()
    snapshot.CopyFrom(record.task)
    tx.then(Announce(snapshot, result))
    forget_if_gone(state, tx, record)


def cancelled(reason: str) -> attempt_pb2.Failure:
    """Return the failure of a task that somebody wanted to end."""
    return attempt_pb2.Failure(outcome=attempt_pb2.ATTEMPT_OUTCOME_CANCELLED, type="Cancelled", message=reason)


def forget_attempt(state: State, record: records_pb2.TaskRecord) -> None:
    """Free what the newest attempt held: its process is gone, and its secrets with it."""
    key = attempt_id(record)
    host = state.hosts.get(state.alive.pop(key, ""))
    if host:
        host.attempts.discard(key)
    state.credentials.pop(record.credential_hash, None)
    state.tokens.pop(record.token_hash, None)
    record.ClearField("credential_hash")
    record.ClearField("token_hash")


def forget_if_gone(state: State, tx: Transaction, record: records_pb2.TaskRecord) -> None:
    """Take a task out of memory and out of recovery's way, once it has ended and its process is gone."""
    alive = record.task.attempts and attempt_id(record) in state.alive
    if record.task.state in lifecycle.ENDED and not alive:
        state.tasks.pop(record.task.id, None)
        tx.delete(keys.live(record.task.id))


def requeue(state: State, tx: Transaction, record: records_pb2.TaskRecord, reason: str) -> None:
    """Give a task back to the queue, in its old place."""
    move(tx, record, lifecycle.QUEUED, reason)
    state.queue.add(record.task.id, record.task.spec.environment, record.task.spec.session)
