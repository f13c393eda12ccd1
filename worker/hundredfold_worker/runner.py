"""Runs one attempt: runs its behaviour, delivers the result or the failure."""

import asyncio
import json
import signal
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar

from hundredfold.behaviour import Behaviour
from hundredfold.context import Context, SyncContext
from hundredfold.embedder import Embedder
from hundredfold.errors import HundredfoldError, InvalidInput, UnknownBehaviour
from hundredfold.memory import BaseMemory
from hundredfold.policy import NonRetryable
from hundredfold.session import AsyncSession, BaseSession, Session
from hundredfold.v1 import attempt_pb2, memory_pb2, session_pb2
from hundredfold.v1 import worker_service_pb2 as pb
from hundredfold.wire import item_message, item_of, record_message, texts_of, values_of

from hundredfold_worker.channel import Overtaken
from hundredfold_worker.context_port import ContextPort, Coordinator, payload_of
from hundredfold_worker.injected import Injected
from hundredfold_worker.kept_sessions import KeptSessions

_TRACEBACK_LIMIT: Final = 16 * 1024
_MESSAGE_LIMIT: Final = 4 * 1024
_NAME_LIMIT: Final = 200
_NO_EMBEDDERS: Final[Mapping[str, Embedder]] = MappingProxyType({})
_S = TypeVar("_S", bound=BaseSession)


class Cancelled(BaseException):
    """SIGTERM came while the behaviour was running."""


def run_attempt(
    channel: Coordinator,
    assignment: pb.NextAttemptResponse,
    behaviours: dict[str, Behaviour[..., Any]],
    embedders: Mapping[str, Embedder] = _NO_EMBEDDERS,
    kept: KeptSessions | None = None,
) -> tuple[bool, pb.NextAttemptResponse]:
    """Run an attempt and deliver what came of it. Returns whether that was a result, and the next attempt, if any.

    Raises:
        Cancelled: it was asked to end; there is nothing to deliver.
        Refused: the coordinator does not want it any more.

    """
    port = ContextPort(channel, assignment, embedders)
    began = time.process_time_ns()
    try:
        request, session = _perform(behaviours, assignment, port, kept or KeptSessions())
    except Cancelled:
        raise
    except BaseException as error:  # noqa: BLE001  # SystemExit and KeyboardInterrupt are failures of the behaviour too
        failed = pb.FailAttemptRequest(failure=_failure(error), events=port.outbox.close(), next=assignment.stay)
        failed.cpu_time.FromNanoseconds(time.process_time_ns() - began)
        return False, channel.fail(failed)
    request.events.extend(port.outbox.close())
    request.next = assignment.stay
    request.cpu_time.FromNanoseconds(time.process_time_ns() - began)
    try:
        following = channel.complete(request)
    except (HundredfoldError, Overtaken):
        if not assignment.stay:
            raise
        # What it must not deliver, or has delivered too late, is the end of the attempt, which has failed with that,
        # and not of this worker.
        return False, pb.NextAttemptResponse(stay=True)
    if kept and assignment.keep_session:
        kept.keep(session, assignment.task_id)
    return True, following


def _perform(
    behaviours: dict[str, Behaviour[..., Any]],
    assignment: pb.NextAttemptResponse,
    port: ContextPort,
    kept: KeptSessions,
) -> tuple[pb.CompleteAttemptRequest, BaseSession]:
    """Run the behaviour; return what it has to deliver, and its session."""
    behaviour = behaviours.get(assignment.behaviour)
    if behaviour is None:  # its plugin is another one than when the zygote said what it has
        raise UnknownBehaviour(assignment.behaviour, "this process", ", ".join(sorted(behaviours)), "")
    arguments = behaviour.parse(assignment.input.data)
    context = _context(behaviour, assignment, port, kept)
    injected = Injected(assignment, context.emit)
    injected.before()
    returned = _run(behaviour, context, arguments)
    injected.after()
    request = pb.CompleteAttemptRequest(result=payload_of(behaviour.dump(returned)))
    port.check_size("result", len(request.result.data))
    if assignment.HasField("session") and not assignment.keep_session:
        request.session_writes.CopyFrom(_session_writes(context.session))
        port.check_size("session_writes", request.session_writes.ByteSize())
    request.memory_writes.extend(_memory_writes(context.memories.values()))
    port.check_size("memory_writes", sum(writes.ByteSize() for writes in request.memory_writes))
    return request, context.session


def _context(
    behaviour: Behaviour[..., Any], assignment: pb.NextAttemptResponse, port: ContextPort, kept: KeptSessions
) -> Context | SyncContext:
    given: dict[str, Any] = {
        "task_id": assignment.task_id,
        "attempt": assignment.attempt,
        "saved": json.loads(assignment.checkpoint.data) if assignment.HasField("checkpoint") else None,
        "remaining_seconds": _remaining(assignment),
    }
    if behaviour.is_async:
        return Context(port, session=_session(AsyncSession, assignment, port, kept), **given)
    return SyncContext(port, session=_session(Session, assignment, port, kept), **given)


def _session(cls: type[_S], assignment: pb.NextAttemptResponse, port: ContextPort, kept: KeptSessions) -> _S:
    session = assignment.session
    if assignment.keep_session:
        return kept.open(cls, session.id)
    return cls(
        session.id,
        version=session.version,
        items=map(item_of, session.items),
        state=values_of(session.state),
        item_count=session.item_count,
        reader=port,
    )


def _remaining(assignment: pb.NextAttemptResponse) -> float | None:
    if not assignment.HasField("remaining_time"):
        return None
    return assignment.remaining_time.ToNanoseconds() / 1e9


def _run(behaviour: Behaviour[..., Any], context: Context | SyncContext, arguments: dict[str, Any]) -> object:
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
    behaviour: Behaviour[..., Any], positional: tuple[Context | SyncContext, ...], arguments: dict[str, Any]
) -> object:
    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(behaviour.function(*positional, **arguments))
    told: list[int] = []

    def cancel(number: int, _frame: object) -> None:
        told.append(number)
        loop.call_soon_threadsafe(running.cancel)

    signal.signal(signal.SIGTERM, cancel)  # the loop's own way takes twice as long as the rest of a short attempt
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


def _session_writes(session: BaseSession) -> session_pb2.SessionWrites:
    return session_pb2.SessionWrites(
        expected_version=session.version,
        append=map(item_message, session.appended),
        set=texts_of(session.state.written),
        delete=sorted(session.state.deleted),
        merge=session.merge,
    )


def _memory_writes(memories: Iterable[BaseMemory]) -> Iterator[memory_pb2.MemoryWrites]:
    for memory in memories:
        if memory.upserted or memory.deleted:
            upsert = map(record_message, memory.upserted.values())
            yield memory_pb2.MemoryWrites(collection=memory.collection, upsert=upsert, delete=sorted(memory.deleted))
