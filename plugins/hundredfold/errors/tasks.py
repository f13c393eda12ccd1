"""What becomes of wishes about tasks."""

from dataclasses import dataclass

from hundredfold.errors.base import HundredfoldError


@dataclass(eq=False)
class InvalidInput(HundredfoldError):
    """Input of behaviour '{behaviour}' is not valid: `{field}` {problem}. `hundredfold plugins` shows its schema."""

    behaviour: str
    field: str
    problem: str
    code = "INVALID_ARGUMENT"
    reason = "INVALID_INPUT"


@dataclass(eq=False)
class UnknownTask(HundredfoldError):
    """There is no task '{task_id}' here. `hundredfold list` shows the tasks there are."""

    task_id: str
    code = "NOT_FOUND"
    reason = "TASK_NOT_FOUND"


@dataclass(eq=False)
class TaskNotEnded(HundredfoldError):
    """Task {task_id} is {state} and has not ended. Wait for its end, or cancel it first."""

    task_id: str
    state: str
    code = "FAILED_PRECONDITION"
    reason = "TASK_NOT_ENDED"


@dataclass(eq=False)
class TaskHasResult(HundredfoldError):
    """Task {task_id} has a result, and a task has one only. Submit another task for a second one."""

    task_id: str
    code = "FAILED_PRECONDITION"
    reason = "TASK_HAS_RESULT"


@dataclass(eq=False)
class TaskFailed(HundredfoldError):
    """Task {task_id} ended {state}: {type}: {message}."""

    task_id: str
    state: str
    type: str
    message: str
    code = "ABORTED"
    reason = "TASK_FAILED"


@dataclass(eq=False)
class RequestIdReused(HundredfoldError):
    """Request id '{request_id}' was used for task {task_id} with another content. Choose another id."""

    request_id: str
    task_id: str
    code = "ALREADY_EXISTS"
    reason = "REQUEST_ID_REUSED"


@dataclass(eq=False)
class QueueFull(HundredfoldError):
    """The queue is full: it may hold {limit} {what}. Try again in {retry_seconds} s, or raise `{setting}`."""

    limit: int
    what: str
    retry_seconds: int
    setting: str
    code = "RESOURCE_EXHAUSTED"
    reason = "QUEUE_FULL"


@dataclass(eq=False)
class EventQuotaExceeded(HundredfoldError):
    """This attempt has emitted {limit} events, which is its quota; later ones are dropped. Emit less often."""

    limit: int
    code = "RESOURCE_EXHAUSTED"
    reason = "EVENT_QUOTA_EXCEEDED"


@dataclass(eq=False)
class StaleAttempt(HundredfoldError):
    """Attempt {attempt} of task {task_id} is not the current one any more; nothing was recorded. Stop working."""

    task_id: str
    attempt: int
    code = "ABORTED"
    reason = "STALE_ATTEMPT"


@dataclass(eq=False)
class Draining(HundredfoldError):
    """The coordinator is stopping and accepts nothing more. Try again after the next `hundredfold serve`."""

    code = "UNAVAILABLE"
    reason = "DRAINING"
