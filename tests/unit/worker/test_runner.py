"""Shows what a worker delivers: a result or a failure, with session writes and the events that are left, once."""

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from hundredfold import Context, SyncContext
from hundredfold.errors import PayloadTooLarge
from hundredfold.v1 import attempt_pb2, payload_pb2, session_pb2
from hundredfold_worker.channel import Refused
from hundredfold_worker.runner import Cancelled

if TYPE_CHECKING:
    from tests.unit.worker.conftest import Stage

RAISED, INVALID = attempt_pb2.ATTEMPT_OUTCOME_RAISED, attempt_pb2.ATTEMPT_OUTCOME_INVALID_INPUT


# Results --------------------------------------------------------------------------------------------------------------


def test_a_sync_behaviour_delivers_what_it_returns(run: "Stage") -> None:
    def agent(ctx: SyncContext, text: str) -> dict[str, Any]:
        assert isinstance(ctx, SyncContext)
        return {"task": ctx.task_id, "attempt": ctx.attempt, "text": text}

    assert run(agent, {"text": "hi"}).result == {"task": "t1", "attempt": 2, "text": "hi"}


def test_an_async_behaviour_delivers_what_it_returns(run: "Stage") -> None:
    async def agent(ctx: Context, text: str) -> list[str]:
        assert isinstance(ctx, Context)
        await asyncio.sleep(0)
        return [text]

    assert run(agent, {"text": "hi"}).result == ["hi"]


def test_a_behaviour_need_not_want_a_context(run: "Stage") -> None:
    def agent(a: int, b: int = 2) -> int:
        return a + b

    assert run(agent, {"a": 40}).result == 42


def test_without_a_session_there_are_no_session_writes(run: "Stage") -> None:
    def agent(ctx: SyncContext) -> None:
        ctx.session.append("agent", "lost")

    done = run(agent)
    assert done.result is None
    assert not done.coordinator.completed[0].HasField("session_writes")


def test_a_session_is_read_and_its_writes_travel_with_the_result(run: "Stage") -> None:
    def agent(ctx: SyncContext) -> list[Any]:
        ctx.session.append("agent", {"said": "hi"})
        ctx.session.state["new"] = 3
        del ctx.session.state["old"]
        return [ctx.session.id, ctx.session.items("user")[0].content, dict(ctx.session.state)]

    item = session_pb2.SessionItem(role="user", content=b'"hello"')
    session = session_pb2.Session(id="s", version=4, items=[item], state={"old": b"1", "kept": b"2"})
    done = run(agent, session=session)
    assert done.result == ["s", "hello", {"kept": 2, "new": 3}]
    assert done.writes.expected_version == 4
    assert [(one.role, json.loads(one.content)) for one in done.writes.append] == [("agent", {"said": "hi"})]
    assert (dict(done.writes.set), list(done.writes.delete)) == ({"new": b"3"}, ["old"])


def test_a_checkpoint_of_an_earlier_attempt_is_there(run: "Stage") -> None:
    def agent(ctx: SyncContext) -> Any:
        return ctx.saved

    assert run(agent).result is None
    assert run(agent, checkpoint=payload_pb2.Payload(data=b"[1]")).result == [1]


def test_checkpoints_are_saved_at_once(run: "Stage") -> None:
    def agent(ctx: SyncContext) -> None:
        ctx.checkpoint({"page": 1})

    async def patient(ctx: Context) -> None:
        await ctx.checkpoint({"page": 2})

    assert run(agent).coordinator.checkpoints == [{"page": 1}]
    assert run(patient).coordinator.checkpoints == [{"page": 2}]


def test_events_that_are_left_travel_with_the_result(run: "Stage") -> None:
    async def agent(ctx: Context) -> int:
        ctx.emit({"step": 1})
        ctx.emit("two")
        return 1

    done = run(agent)
    assert (done.result, done.events) == (1, [{"step": 1}, "two"])


# Failures -------------------------------------------------------------------------------------------------------------


def test_what_is_raised_is_a_failure_with_its_traceback(run: "Stage") -> None:
    def agent(ctx: SyncContext) -> None:
        ctx.emit(1)
        raise ValueError("it is broken")

    done = run(agent)
    assert (done.failure.outcome, done.failure.type, done.failure.message) == (RAISED, "ValueError", "it is broken")
    assert "in agent" in done.failure.traceback
    assert done.events == [1]


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError(), LookupError()], ids=repr
)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_whatever_is_raised_is_a_failure(run: "Stage", error: BaseException, kind: str) -> None:
    def agent() -> None:
        raise error

    async def patient() -> None:
        raise error

    failure = run(patient if kind == "async" else agent).failure
    assert failure.outcome == RAISED
    assert failure.type == type(error).__name__
    assert failure.message == (str(error) or type(error).__name__)


def test_a_long_traceback_keeps_its_end(run: "Stage") -> None:
    def agent() -> None:
        raise ValueError("x" * 100_000 + "the end")

    traceback = run(agent).failure.traceback
    assert len(traceback) <= 16 * 1024
    assert traceback.rstrip().endswith("the end")


def test_an_input_that_does_not_fit_is_named(run: "Stage") -> None:
    def agent(pages: list[int]) -> None:
        raise AssertionError(pages)

    failure = run(agent, {"pages": [1, "x"]}).failure
    assert (failure.outcome, failure.type, failure.field) == (INVALID, "InvalidInput", "pages[1]")
    assert "pages[1]" in failure.message


def test_a_result_that_is_not_what_was_declared_is_a_failure(run: "Stage") -> None:
    def agent() -> int:
        return "three"  # type: ignore[return-value]  # that is the point

    failure = run(agent).failure
    assert (failure.type, failure.outcome) == ("TypeError", RAISED)


def test_a_behaviour_that_is_not_there_is_a_failure(run: "Stage") -> None:
    assert run(None).failure.outcome == RAISED


def test_too_large_a_result_is_a_failure_with_the_limit_in_it(run: "Stage") -> None:
    def agent(ctx: SyncContext) -> str:
        ctx.emit(1)
        return "x" * 2000

    done = run(agent)
    assert done.failure.type == "PayloadTooLarge"
    assert "`result` has 2002 bytes and may have 1000" in done.failure.message
    assert done.failure.traceback == "", "it says everything itself"
    assert done.events == [1]


def test_a_behaviour_sees_that_its_event_or_checkpoint_is_wrong(run: "Stage") -> None:
    def agent(ctx: SyncContext) -> list[str]:
        caught = []
        for write in (ctx.emit, ctx.checkpoint):
            for value in ("x" * 2000, float("nan"), {1, 2}):
                try:
                    write(value)
                except (PayloadTooLarge, ValueError, TypeError) as error:
                    caught.append(type(error).__name__)
        return caught

    done = run(agent)
    assert done.result == ["PayloadTooLarge", "ValueError", "TypeError"] * 2
    assert (done.events, done.coordinator.checkpoints) == ([], [])


def test_who_is_not_wanted_any_more_hears_of_it(run: "Stage") -> None:
    def agent(ctx: SyncContext) -> None:
        ctx.checkpoint(1)

    def refuse() -> NoReturn:
        raise Refused("stale")

    run.before = refuse
    for function in (agent, lambda: None):
        with pytest.raises(Refused):
            run(function)


@pytest.mark.parametrize("text", ["\udce4.txt", None], ids=["file name", "no text"])
def test_a_failure_that_is_hard_to_tell_is_told(run: "Stage", text: str | None) -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            return text  # type: ignore[return-value]  # that is the point

    def agent() -> None:
        raise Odd

    assert run(agent).failure.type == "Odd"


def test_a_message_is_bounded(run: "Stage") -> None:
    def agent() -> None:
        raise ValueError("x" * 1_000_000)

    assert len(run(agent).failure.message) <= 16 * 1024


# Being asked to end ---------------------------------------------------------------------------------------------------


def test_a_sync_behaviour_that_is_asked_to_end_delivers_nothing(run: "Stage") -> None:
    cleaned = []

    def agent() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            cleaned.append(True)

    with pytest.raises(Cancelled):
        run(agent)
    assert (run.coordinator.completed, run.coordinator.failed, cleaned) == ([], [], [True])


def test_an_async_behaviour_that_is_asked_to_end_delivers_nothing(run: "Stage") -> None:
    async def agent() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    with pytest.raises(Cancelled):
        run(agent)
    assert (run.coordinator.completed, run.coordinator.failed) == ([], [])


def test_an_async_behaviour_that_is_asked_to_end_may_still_finish(run: "Stage") -> None:
    async def agent() -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done after all"
        return "never"

    assert run(agent).result == "done after all"


def test_who_has_finished_is_not_interrupted_while_delivering(run: "Stage") -> None:
    run.before = lambda: os.kill(os.getpid(), signal.SIGTERM)
    assert run(lambda: None).delivered
