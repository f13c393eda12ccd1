"""Runs one attempt: takes it, runs its behaviour, delivers the result or the failure."""

import asyncio
import json
import signal
import traceback
from typing import Any, Final, Protocol

from hundredfold.behaviour import Behaviour
from hundredfold.context import BaseContext, Context, Item, Session, SyncContext
from hundredfold.errors import HundredfoldError, InvalidInput, PayloadTooLarge, UnknownBehaviour
from hundredfold.policy import NonRetryable
from hundredfold.v1 import attempt_pb2, payload_pb2, session_pb2
from hundredfold.v1 import worker_service_pb2 as pb

from hundredfold_worker.outbox import Outbox

_TRACEBACK_LIMIT: Final = 16 * 1024
_MESSAGE_LIMIT: Final = 4 * 1024
_NAME_LIMIT: Final = 200
_JSON: Final = "application/json"


class Coordinator(Protocol):
    """The coordinator, as an attempt sees it; `hundredfold_worker.channel.Channel` is the real one."""

    def next_attempt(self) -> pb.NextAttemptResponse:
        """Take the attempt."""

    def emit(self, request: pb.EmitEventsRequest) -> pb.EmitEventsResponse:
        """Record events."""

    def save_checkpoint(self, request: pb.SaveCheckpointRequest) -> None:
        """Save a checkpoint."""

    def complete(self, request: pb.CompleteAttemptRequest) -> None:
        """Record the result."""

    def fail(self, request: pb.FailAttemptRequest) -> None:
        """Record a failure."""


class Cancelled(BaseException):
    """SIGTERM came while the behaviour was running."""


def run_attempt(channel: Coordinator, behaviours: dict[str, Behaviour[..., Any]]) -> bool:
    """Take the attempt, run it, deliver what came of it. Returns whether that was a result.

    Raises:
        Cancelled: it was asked to end; there is nothing to deliver.
        Refused: the coordinator does not want it any more.

    """
    assignment = channel.next_attempt()
    port = _Port(channel, assignment)
    try:
        request = _perform(behaviours, assignment, port)
    except Cancelled:
        raise
    except BaseException as error:  # noqa: BLE001  # SystemExit and KeyboardInterrupt are failures of the behaviour too
        channel.fail(pb.FailAttemptRequest(failure=_failure(error), events=port.outbox.close()))
        return False
    request.events.extend(port.outbox.close())
    channel.complete(request)
    return True


def _perform(
    behaviours: dict[str, Behaviour[..., Any]], assignment: pb.NextAttemptResponse, port: "_Port"
) -> pb.CompleteAttemptRequest:
    """Run the behaviour; return what it has to deliver."""
    behaviour = behaviours.get(assignment.behaviour)
    if behaviour is None:  # its plugin is another one than when the zygote said what it has
        raise UnknownBehaviour(assignment.behaviour, "this process", ", ".join(sorted(behaviours)), "")
    arguments = behaviour.parse(assignment.input.data)
    context = _context(behaviour, assignment, port)
    request = pb.CompleteAttemptRequest(result=_payload(behaviour.dump(_run(behaviour, context, arguments))))
    port.check_size("result", len(request.result.data))
    if assignment.HasField("session"):
        request.session_writes.CopyFrom(_session_writes(context.session))
        port.check_size("session_writes", request.session_writes.ByteSize())
    return request


class _Port:
    """The far end of a context: checks sizes here, where the behaviour can see the error."""

    def __init__(self, channel: Coordinator, assignment: pb.NextAttemptResponse) -> None:
        self._channel = channel
        self._limit = assignment.max_payload_bytes
        self.outbox = Outbox(channel.emit, assignment.event_quota)

    def emit(self, value: object) -> None:
        data = json.dumps(value, allow_nan=False).encode()
        self.check_size("event", len(data))
        self.outbox.add(data)

    def save_checkpoint(self, value: object) -> None:
        data = json.dumps(value, allow_nan=False).encode()
        self.check_size("checkpoint", len(data))
        self._channel.save_checkpoint(pb.SaveCheckpointRequest(checkpoint=_payload(data)))

    def check_size(self, field: str, size: int) -> None:
        if size > self._limit:
            raise PayloadTooLarge(field, size, self._limit)


def _context(behaviour: Behaviour[..., Any], assignment: pb.NextAttemptResponse, port: _Port) -> BaseContext:
    session = assignment.session
    return (Context if behaviour.is_async else SyncContext)(
        port,
        task_id=assignment.task_id,
        attempt=assignment.attempt,
        session=Session(
            session.id,
            version=session.version,
            items=[Item(item.role, json.loads(item.content)) for item in session.items],
            state={key: json.loads(value) for key, value in session.state.items()},
        ),
        saved=json.loads(assignment.checkpoint.data) if assignment.HasField("checkpoint") else None,
        remaining_seconds=_remaining(assignment),
    )


def _remaining(assignment: pb.NextAttemptResponse) -> float | None:
    if not assignment.HasField("remaining_time"):
        return None
    return assignment.remaining_time.ToNanoseconds() / 1e9


def _run(behaviour: Behaviour[..., Any], context: BaseContext, arguments: dict[str, Any]) -> object:
    positional = (context,) if behaviour.wants_context else ()
    try:
        if behaviour.is_async:
            return asyncio.run(_run_async(behaviour, positional, arguments))
        signal.signal(signal.SIGTERM, _raise_cancelled)
        return behaviour.function(*positional, **arguments)
    finally:
        # What is done is going to be delivered, whoever asks to end from here on; SIGKILL follows if it takes long.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


async def _run_async(
    behaviour: Behaviour[..., Any], positional: tuple[BaseContext, ...], arguments: dict[str, Any]
) -> object:
    running = asyncio.ensure_future(behaviour.function(*positional, **arguments))
    told: list[int] = []

    def cancel() -> None:
        told.append(signal.SIGTERM)
        running.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, cancel)
    try:
        return await running
    except asyncio.CancelledError:
        if told:
            raise Cancelled from None
        raise


def _raise_cancelled(_number: int, _frame: object) -> None:
    raise Cancelled


def _failure(error: BaseException) -> attempt_pb2.Failure:
    name = _text(type(error).__name__)[:_NAME_LIMIT]
    failure = attempt_pb2.Failure(outcome=attempt_pb2.ATTEMPT_OUTCOME_RAISED, type=name)
    failure.message = _text(_said(error))[:_MESSAGE_LIMIT] or name
    failure.non_retryable = isinstance(error, NonRetryable)
    if isinstance(error, InvalidInput):
        failure.outcome = attempt_pb2.ATTEMPT_OUTCOME_INVALID_INPUT
        failure.field = _text(error.field)[:_MESSAGE_LIMIT]
    elif not isinstance(error, HundredfoldError):  # those say everything themselves
        failure.traceback = _text("".join(traceback.format_exception(error)))[-_TRACEBACK_LIMIT:]
    return failure


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as worse:  # noqa: BLE001  # what a behaviour raises is the behaviour's own code, too
        return f"it cannot be shown: {type(worse).__name__}"


def _text(text: str) -> str:
    """Return a text that can travel: file names, for one, may hold what is no character."""
    return text.encode(errors="backslashreplace").decode()


def _session_writes(session: Session) -> session_pb2.SessionWrites:
    return session_pb2.SessionWrites(
        expected_version=session.version,
        append=[session_pb2.SessionItem(role=i.role, content=json.dumps(i.content).encode()) for i in session.appended],
        set={key: json.dumps(value, allow_nan=False).encode() for key, value in session.state.written.items()},
        delete=sorted(session.state.deleted),
        merge=session.merge,
    )


def _payload(data: bytes) -> payload_pb2.Payload:
    return payload_pb2.Payload(content_type=_JSON, data=data)
