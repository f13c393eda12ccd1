"""What clients want of tasks that have ended: to try them again, or to forget them."""

from hundredfold.errors import TaskHasResult, TaskNotEnded
from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import task_pb2

from hundredfold_coordinator import keys
from hundredfold_coordinator.core import lifecycle
from hundredfold_coordinator.core.change import forget_credential, move
from hundredfold_coordinator.core.door import refusal
from hundredfold_coordinator.core.events import DeleteRequested, RetryRequested
from hundredfold_coordinator.core.state import State
from hundredfold_coordinator.core.timing import hold_until, set_deadlines
from hundredfold_coordinator.core.transaction import Transaction


def retry(state: State, tx: Transaction, event: RetryRequested) -> None:
    """Queue a task again that has ended without a result, with all of its retry policy before it."""
    record = state.tasks.get(event.task_id, event.stored)
    if record.task.state == lifecycle.SUCCEEDED:
        tx.refuse(event.reply, TaskHasResult(event.task_id))
    elif record.task.state not in lifecycle.RETRIABLE:
        tx.refuse(event.reply, not_ended(record))
    elif refused := refusal(state, record.task.spec.tenant, record.input_bytes, tx.now_ns):
        tx.refuse(event.reply, refused)
    else:
        _revive(state, tx, record)
        tx.reply(event.reply)


def delete(state: State, tx: Transaction, event: DeleteRequested) -> None:
    """Delete tasks that have ended and whose processes are gone; the answer is how many those were."""
    deleted = 0
    for record in event.stored:
        if record.task.id not in state.tasks and record.task.state in lifecycle.ENDED:
            state.requests.pop(record.request_id, None)
            for key in keys.all_of(record):
                tx.delete(key)
            deleted += 1
            state.kept -= 1
            state.dead -= bool(record.task.dead_letter_cause)
    tx.reply(event.reply, deleted)


def not_ended(record: records_pb2.TaskRecord) -> TaskNotEnded:
    """Return the error that says that a task is not over."""
    name = task_pb2.TaskState.Name(record.task.state).removeprefix("TASK_STATE_")
    return TaskNotEnded(record.task.id, name)


def _revive(state: State, tx: Transaction, record: records_pb2.TaskRecord) -> None:
    task = record.task
    state.tasks[task.id] = record
    state.ended[task.state] = max(0, state.ended[task.state] - 1)  # it may have ended under another coordinator
    record.pardoned_attempts = len(task.attempts)
    record.deadlines_from.CopyFrom(tx.now)
    state.dead -= bool(task.dead_letter_cause)
    record.ClearField("drop_checkpoint")  # that one is gone; what it saves from now on is its own
    for field in ("failure", "end_time", "dead_letter_cause"):
        task.ClearField(field)
    tx.put(keys.live(task.id))
    tx.delete(keys.dead(task.id))
    forget_credential(state, record)
    move(tx, record, lifecycle.QUEUED, "somebody wants it tried again")
    hold_until(state, tx, record, task.spec.not_before)
    set_deadlines(tx, record)
