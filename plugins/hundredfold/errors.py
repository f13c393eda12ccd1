"""Errors: what a call to Hundredfold can answer instead of a result.

One class per error; its docstring is the message and the cure, its fields are the figures in them. The class also
carries the gRPC code and the `google.rpc.ErrorInfo` reason under which it travels, so that `ERRORS` is the one table
of all of them. What ends an *attempt* is a failure, not an error: see `proto/hundredfold/v1/attempt.proto`.

See also: `hundredfold.status`, which puts them on the wire and takes them off.
"""

import re
from dataclasses import dataclass, fields
from inspect import cleandoc
from typing import ClassVar, Final

DOMAIN: Final = "hundredfold"
"""`ErrorInfo.domain` of every error."""

_FIGURE: Final = re.compile(r"\{(\w+)\}(\.?)")


@dataclass(eq=False)
class HundredfoldError(Exception):
    """Something went wrong inside Hundredfold."""

    code: ClassVar[str] = "INTERNAL"
    reason: ClassVar[str] = "INTERNAL"

    def __str__(self) -> str:
        """Return the message and the cure: the class's docstring, with the figures filled in."""
        text = " ".join(cleandoc(type(self).__doc__ or self.reason).split())
        figures = {name: str(value) for name, value in self.figures().items()}
        # A figure that is a sentence itself, such as another one's message, brings its own full stop.
        return _FIGURE.sub(
            lambda m: figures[m[1]] + (m[2] if not figures[m[1]].endswith((".", "?", "!")) else ""), text
        )

    def __reduce__(self) -> tuple[type["HundredfoldError"], tuple[str | int, ...]]:
        """Let errors travel between processes: they are made of their fields, not of `args`."""
        return type(self), tuple(self.figures().values())

    def figures(self) -> dict[str, str | int]:
        """Return the fields by name, as they travel in `ErrorInfo.metadata`."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(eq=False)
class InternalError(HundredfoldError):
    """The coordinator failed unexpectedly: {problem}. Its log has the details; please report it."""

    problem: str
    reason = "INTERNAL"


@dataclass(eq=False)
class InvalidArgument(HundredfoldError):
    """`{field}` {problem}."""

    field: str
    problem: str
    code = "INVALID_ARGUMENT"
    reason = "INVALID_ARGUMENT"


@dataclass(eq=False)
class InvalidInput(HundredfoldError):
    """Input of behaviour '{behaviour}' is not valid: `{field}` {problem}. `hundredfold plugins` shows its schema."""

    behaviour: str
    field: str
    problem: str
    code = "INVALID_ARGUMENT"
    reason = "INVALID_INPUT"


@dataclass(eq=False)
class PayloadTooLarge(HundredfoldError):
    """`{field}` has {size} bytes and may have {limit}.

    Store large data elsewhere and pass a reference, or raise `max_payload_bytes`.
    """

    field: str
    size: int
    limit: int
    code = "INVALID_ARGUMENT"
    reason = "PAYLOAD_TOO_LARGE"


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
class UnknownBehaviour(HundredfoldError):
    """There is no behaviour '{behaviour}' in environment '{environment}'; it has: {known}.

    {hint}
    """

    behaviour: str
    environment: str
    known: str
    hint: str = "`hundredfold plugins` shows where each comes from; `--plugin FILE` adds one."
    code = "NOT_FOUND"
    reason = "BEHAVIOUR_NOT_FOUND"


@dataclass(eq=False)
class UnknownEnvironment(HundredfoldError):
    """There is no environment '{environment}' here. Open it first; temporary ones end with their coordinator."""

    environment: str
    code = "NOT_FOUND"
    reason = "ENVIRONMENT_NOT_FOUND"


@dataclass(eq=False)
class RequestIdReused(HundredfoldError):
    """Request id '{request_id}' was used for task {task_id} with another content. Choose another id."""

    request_id: str
    task_id: str
    code = "ALREADY_EXISTS"
    reason = "REQUEST_ID_REUSED"


@dataclass(eq=False)
class SessionRequestReused(HundredfoldError):
    """Request id '{request_id}' has written something else to session '{session}'. Choose another id."""

    request_id: str
    session: str
    code = "ALREADY_EXISTS"
    reason = "SESSION_REQUEST_REUSED"


@dataclass(eq=False)
class BrokenPlugin(HundredfoldError):
    """Plugin '{plugin}' could not be used: {problem}. Correct it; `hundredfold plugins` shows the traceback."""

    plugin: str
    problem: str
    code = "FAILED_PRECONDITION"
    reason = "BROKEN_PLUGIN"


@dataclass(eq=False)
class BrokenEnvironment(HundredfoldError):
    """Environment '{environment}' cannot run anything: {problem}."""

    environment: str
    problem: str
    code = "FAILED_PRECONDITION"
    reason = "BROKEN_ENVIRONMENT"


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
class SessionBusy(HundredfoldError):
    """Session '{session}' has a task that is not over, {task_id}. Wait for it, or choose another session policy."""

    session: str
    task_id: str
    code = "FAILED_PRECONDITION"
    reason = "SESSION_BUSY"


@dataclass(eq=False)
class EventQuotaExceeded(HundredfoldError):
    """This attempt has emitted {limit} events, which is its quota; later ones are dropped. Emit less often."""

    limit: int
    code = "RESOURCE_EXHAUSTED"
    reason = "EVENT_QUOTA_EXCEEDED"


@dataclass(eq=False)
class Unauthenticated(HundredfoldError):
    """This call needs a secret, and the one given is missing or unknown.

    Over TCP, pass the token of the coordinator's token file.
    """

    code = "UNAUTHENTICATED"
    reason = "UNAUTHENTICATED"


@dataclass(eq=False)
class PermissionDenied(HundredfoldError):
    """This is not allowed: {problem}."""

    problem: str
    code = "PERMISSION_DENIED"
    reason = "PERMISSION_DENIED"


@dataclass(eq=False)
class StaleAttempt(HundredfoldError):
    """Attempt {attempt} of task {task_id} is not the current one any more; nothing was recorded. Stop working."""

    task_id: str
    attempt: int
    code = "ABORTED"
    reason = "STALE_ATTEMPT"


@dataclass(eq=False)
class SessionConflict(HundredfoldError):
    """Session '{session}' is at version {version}, not at {expected}: somebody else wrote it. Read it again."""

    session: str
    version: int
    expected: int
    code = "ABORTED"
    reason = "SESSION_CONFLICT"


@dataclass(eq=False)
class Draining(HundredfoldError):
    """The coordinator is stopping and accepts nothing more. Try again after the next `hundredfold serve`."""

    code = "UNAVAILABLE"
    reason = "DRAINING"


@dataclass(eq=False)
class Unreachable(HundredfoldError):
    """No coordinator answers at {address} ({problem}). Start one with `hundredfold serve`."""

    address: str
    problem: str
    code = "UNAVAILABLE"
    reason = "UNREACHABLE"


@dataclass(eq=False)
class TimedOut(HundredfoldError):
    """Nothing came within {seconds} s. What was submitted goes on; wait again to see its end."""

    seconds: str
    code = "DEADLINE_EXCEEDED"
    reason = "TIMED_OUT"


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
class DataDirectoryBusy(HundredfoldError):
    """{data_dir} is in use by {holder}. Stop that one with `hundredfold stop`, or choose another `--data-dir`."""

    data_dir: str
    holder: str
    code = "FAILED_PRECONDITION"
    reason = "DATA_DIRECTORY_BUSY"


@dataclass(eq=False)
class InvalidSetting(HundredfoldError):
    """Setting `{setting}` {problem}."""

    setting: str
    problem: str
    code = "INVALID_ARGUMENT"
    reason = "INVALID_SETTING"


@dataclass(eq=False)
class StoreUnavailable(HundredfoldError):
    """The store at {url} cannot be used: {problem}."""

    url: str
    problem: str
    code = "UNAVAILABLE"
    reason = "STORE_UNAVAILABLE"


@dataclass(eq=False)
class StoreFull(HundredfoldError):
    """The store has no room left, and nothing was written. Free disk space; try again in {retry_seconds} s.

    Tasks that run are finished meanwhile.
    """

    retry_seconds: int
    code = "RESOURCE_EXHAUSTED"
    reason = "STORE_FULL"


@dataclass(eq=False)
class StoreDamaged(HundredfoldError):
    """{file} has lost changes that were durable once, {missing} at its end. Nothing was changed in it.

    Keep a copy of it and of {file}-wal, then restore a newer backup if there is one. `hundredfold store accept-loss`
    takes what is there for the whole truth.
    """

    file: str
    missing: int
    code = "DATA_LOSS"
    reason = "STORE_DAMAGED"


@dataclass(eq=False)
class UnknownCollection(HundredfoldError):
    """There is no collection '{collection}' here. Make it first; `hundredfold memory list` shows those there are."""

    collection: str
    code = "NOT_FOUND"
    reason = "COLLECTION_NOT_FOUND"


@dataclass(eq=False)
class CollectionExists(HundredfoldError):
    """Collection '{collection}' is there already, and is another one: {dimension} figures, {distance} distance.

    Delete it first, or choose another name.
    """

    collection: str
    dimension: int
    distance: str
    code = "ALREADY_EXISTS"
    reason = "COLLECTION_EXISTS"


@dataclass(eq=False)
class UnknownEmbedder(HundredfoldError):
    """There is no embedder '{embedder}' in this environment; it has: {known}.

    {hint}
    """

    embedder: str
    known: str
    hint: str = "`pip install 'hundredfold[embed]'` brings `wordllama`; a plugin can bring others."
    code = "NOT_FOUND"
    reason = "EMBEDDER_NOT_FOUND"


@dataclass(eq=False)
class StoreInUse(HundredfoldError):
    """The store at {url} is in use by {holder}. Stop that one first, or start this one with `--standby`."""

    url: str
    holder: str
    code = "FAILED_PRECONDITION"
    reason = "STORE_IN_USE"


@dataclass(eq=False)
class StoreUnreachable(HundredfoldError):
    """The store at {url} does not answer: {problem}. Tasks that run go on. Try again in {retry_seconds} s."""

    url: str
    problem: str
    retry_seconds: int
    code = "UNAVAILABLE"
    reason = "STORE_UNREACHABLE"


@dataclass(eq=False)
class StoreCannot(HundredfoldError):
    """The store at {url} cannot {action}. Use what its backend brings along for that."""

    url: str
    action: str
    code = "UNIMPLEMENTED"
    reason = "STORE_CANNOT"


@dataclass(eq=False)
class BackupFailed(HundredfoldError):
    """No backup was made at {path}: {problem}. Name a new file, in a directory that has room and may be written."""

    path: str
    problem: str
    code = "FAILED_PRECONDITION"
    reason = "BACKUP_FAILED"


@dataclass(eq=False)
class Fenced(HundredfoldError):
    """Another coordinator has taken over this store; nothing was written. This one must end."""

    code = "ABORTED"
    reason = "FENCED"


def _all_errors(base: type[HundredfoldError]) -> list[type[HundredfoldError]]:
    return [cls for child in base.__subclasses__() for cls in (child, *_all_errors(child))]


ERRORS: Final = {cls.reason: cls for cls in _all_errors(HundredfoldError)}
"""Every error by the reason under which it travels."""
