"""What becomes of a task whose newest attempt has ended without a result: another attempt, or the end."""

from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import attempt_pb2, task_pb2

from hundredfold_coordinator.core import lifecycle, retry
from hundredfold_coordinator.core.change import end_attempt, end_task, requeue, summary
from hundredfold_coordinator.core.state import State
from hundredfold_coordinator.core.transaction import Transaction


def conclude(state: State, tx: Transaction, record: records_pb2.TaskRecord, failure: attempt_pb2.Failure) -> None:
    """End the newest attempt; `failure` says how it ended, but who had asked it to end is told before that."""
    cause, reason = record.end_request.cause, record.end_request.reason
    if cause == records_pb2.END_CAUSE_DRAIN:
        end_attempt(tx, record, attempt_pb2.ATTEMPT_OUTCOME_DRAINED)
        requeue(state, tx, record, reason)
    elif cause == records_pb2.END_CAUSE_CANCEL:
        _end_both(state, tx, record, cancelled(reason), lifecycle.CANCELLED)
    elif cause == records_pb2.END_CAUSE_EXPIRE:
        _end_both(state, tx, record, expired(reason), lifecycle.EXPIRED, task_pb2.DEAD_LETTER_CAUSE_EXPIRED)
    else:
        _try_again_or_fail(state, tx, record, failure)


def cancelled(reason: str) -> attempt_pb2.Failure:
    """Return the failure of a task that somebody wanted to end."""
    return attempt_pb2.Failure(outcome=attempt_pb2.ATTEMPT_OUTCOME_CANCELLED, type="Cancelled", message=reason)


def expired(reason: str) -> attempt_pb2.Failure:
    """Return the failure of a task whose time has passed."""
    return attempt_pb2.Failure(outcome=attempt_pb2.ATTEMPT_OUTCOME_TIMED_OUT, type="Expired", message=reason)


def _end_both(
    state: State,
    tx: Transaction,
    record: records_pb2.TaskRecord,
    failure: attempt_pb2.Failure,
    after: task_pb2.TaskState.ValueType,
    dead: task_pb2.DeadLetterCause.ValueType = task_pb2.DEAD_LETTER_CAUSE_UNSPECIFIED,
) -> None:
    end_attempt(tx, record, failure.outcome, failure)
    end_task(state, tx, record, after, failure=failure, dead=dead)


def _try_again_or_fail(
    state: State, tx: Transaction, record: records_pb2.TaskRecord, failure: attempt_pb2.Failure
) -> None:
    end_attempt(tx, record, failure.outcome, failure)
    dead = retry.judge(record, failure)
    if dead is None:
        wait = retry.wait_seconds(record, retry.CAUSES[failure.outcome], state.chance())
        if _fits(tx, record, wait):
            when = f"; tried again in {wait:.1f} s" if wait else "; tried again"
            requeue(state, tx, record, summary(failure) + when, after_seconds=wait)
            return
        dead = task_pb2.DEAD_LETTER_CAUSE_EXPIRED
    end_task(state, tx, record, lifecycle.FAILED, failure=failure, dead=dead)


def _fits(tx: Transaction, record: records_pb2.TaskRecord, wait_seconds: float) -> bool:
    """Whether another attempt could begin before the task has to have ended."""
    spec = record.task.spec
    if not spec.HasField("schedule_to_close_timeout"):
        return True
    limit = record.deadlines_from.ToNanoseconds() + spec.schedule_to_close_timeout.ToNanoseconds()
    return tx.now_ns + wait_seconds * 1e9 < limit
