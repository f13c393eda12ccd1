"""Shows how long a worker works: one attempt, or one after the other until it is told to end."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pytest
from hundredfold import Behaviour, SyncContext
from hundredfold.errors import InvalidArgument
from hundredfold.v1 import session_pb2
from hundredfold.v1 import worker_service_pb2 as pb
from hundredfold_worker.channel import Overtaken, Refused
from hundredfold_worker.runner import Cancelled
from hundredfold_worker.shift import work

NOTHING_NOW, END = pb.NextAttemptResponse(stay=True), pb.NextAttemptResponse()


@dataclass
class Foreman:
    """A coordinator that has one answer after the other: `asked` for who asks, `delivered` for who delivers."""

    asked: list[pb.NextAttemptResponse]
    delivered: list[pb.NextAttemptResponse | Exception] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    deliveries: list[Any] = field(default_factory=list)
    before_answer: Callable[[], object] = lambda: None

    def next_attempt(self) -> pb.NextAttemptResponse:
        self.calls.append("ask")
        self.before_answer()
        return self.asked.pop(0)

    def complete(self, request: pb.CompleteAttemptRequest) -> pb.NextAttemptResponse:
        self.calls.append("complete")
        self.deliveries.append(json.loads(request.result.data))
        return self._answer(request.next)

    def fail(self, request: pb.FailAttemptRequest) -> pb.NextAttemptResponse:
        self.calls.append("fail")
        self.deliveries.append(request.failure.message)
        return self._answer(request.next)

    def emit(self, request: pb.EmitEventsRequest) -> NoReturn:
        raise AssertionError(f"no test runs long enough for {request}")

    save_checkpoint = read_session = find_items = collection = find_memory = emit

    def _answer(self, wants_next: bool) -> pb.NextAttemptResponse:  # noqa: FBT001
        self.before_answer()
        answer = self.delivered.pop(0) if self.delivered else END
        if isinstance(answer, Exception):
            raise answer
        assert wants_next or not answer.task_id
        return answer


def attempt(task_id: str, *, stay: bool = True, session: str = "", **value: Any) -> pb.NextAttemptResponse:
    """Return the assignment of a task of the agent."""
    response = pb.NextAttemptResponse(
        task_id=task_id, attempt=1, behaviour="agent", stay=stay, max_payload_bytes=1000, event_quota=100
    )
    response.input.data = json.dumps(value).encode()
    if session:
        response.keep_session = True
        response.session.CopyFrom(session_pb2.Session(id=session))
    return response


@pytest.fixture
def begun() -> Iterator[list[str]]:
    """What the shift says that it begins; SIGTERM means again afterwards what it meant."""
    before = signal.getsignal(signal.SIGTERM)
    yield []
    signal.signal(signal.SIGTERM, before)


def agent(ctx: SyncContext, how: str = "", keep: str = "") -> Any:
    """Return the kept items and the process; or what `how` says."""
    if keep:
        ctx.session.append("user", keep)
    if how == "raise":
        raise ValueError("broken")
    if how == "pid":
        return os.getpid()
    if how == "handler":
        return signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN
    return [item.content for item in ctx.session.items()]


def shift(foreman: Foreman, begun: list[str]) -> bool:
    behaviour = Behaviour(agent, name="agent")
    behaviour.prepare("test")
    return work(foreman, {"agent": behaviour}, {}, begun.append)


def test_most_workers_have_one_attempt(begun: list[str]) -> None:
    foreman = Foreman([attempt("t1", stay=False)])
    assert shift(foreman, begun)
    assert (foreman.calls, begun) == (["ask", "complete"], ["agent t1/1"])


def test_one_that_stays_has_one_after_the_other_in_one_process(begun: list[str]) -> None:
    foreman = Foreman([attempt("t1", how="pid")], [attempt("t2", how="pid"), attempt("t3", how="pid"), END])
    assert shift(foreman, begun)
    assert foreman.calls == ["ask", "complete", "complete", "complete"]
    assert begun == ["agent t1/1", "agent t2/1", "agent t3/1"]
    assert foreman.deliveries == [os.getpid()] * 3


def test_who_is_given_nothing_with_an_answer_asks(begun: list[str]) -> None:
    foreman = Foreman([attempt("t1"), NOTHING_NOW, NOTHING_NOW, attempt("t2"), END], [NOTHING_NOW, NOTHING_NOW])
    assert shift(foreman, begun)
    assert foreman.calls == ["ask", "complete", "ask", "ask", "ask", "complete", "ask"]
    assert begun == ["agent t1/1", "idle", "idle", "idle", "agent t2/1", "idle"]


def test_who_is_told_to_end_while_it_waits_ends(begun: list[str]) -> None:
    foreman = Foreman([END])
    assert shift(foreman, begun)
    assert (foreman.calls, begun) == (["ask"], [])


def test_the_last_attempt_says_whether_a_result_was_delivered(begun: list[str]) -> None:
    assert not shift(Foreman([attempt("t1")], [attempt("t2", how="raise")]), begun)
    assert shift(Foreman([attempt("t1", how="raise")], [attempt("t2")]), begun)
    assert not shift(Foreman([attempt("t1", stay=False, how="raise")]), begun)


def test_a_failure_does_not_end_one_that_stays(begun: list[str]) -> None:
    foreman = Foreman([attempt("t1", how="raise")], [attempt("t2"), END])
    assert shift(foreman, begun)
    assert foreman.calls == ["ask", "fail", "complete"]
    assert foreman.deliveries == ["broken", []]


def test_what_must_not_be_delivered_does_not_end_one_that_stays(begun: list[str]) -> None:
    foreman = Foreman([attempt("t1"), attempt("t2"), END], [InvalidArgument("memory_writes", "is none"), END])
    assert shift(foreman, begun)
    assert foreman.calls == ["ask", "complete", "ask", "complete"]


def test_a_conflict_ends_the_attempt_and_not_one_that_stays(begun: list[str]) -> None:
    foreman = Foreman([attempt("t1"), attempt("t2"), END], [Overtaken("the session was written"), END])
    assert shift(foreman, begun)
    assert foreman.calls == ["ask", "complete", "ask", "complete"]


def test_a_conflict_ends_one_that_does_not_stay(begun: list[str]) -> None:
    with pytest.raises(Refused):
        shift(Foreman([attempt("t1", stay=False)], [Overtaken("the session was written")]), begun)


def test_what_must_not_be_delivered_ends_one_that_does_not_stay(begun: list[str]) -> None:
    foreman = Foreman([attempt("t1", stay=False)], [InvalidArgument("memory_writes", "is none")])
    with pytest.raises(InvalidArgument):
        shift(foreman, begun)


def test_who_is_not_wanted_any_more_ends(begun: list[str]) -> None:
    foreman = Foreman([attempt("t1")], [Refused("another attempt runs")])
    with pytest.raises(Refused):
        shift(foreman, begun)


# Being asked to end ---------------------------------------------------------------------------------------------------


def test_between_attempts_a_signal_ends_the_process_at_once(begun: list[str]) -> None:
    foreman = Foreman([attempt("t1"), END], [NOTHING_NOW])
    seen: list[Any] = []
    foreman.before_answer = lambda: seen.append(signal.getsignal(signal.SIGTERM))
    assert shift(foreman, begun)
    assert seen[1:] == [signal.SIG_IGN, signal.SIG_DFL]


def test_an_attempt_behind_another_can_be_asked_to_end(begun: list[str]) -> None:
    foreman = Foreman([attempt("t1", how="handler")], [attempt("t2", how="handler"), END])
    shift(foreman, begun)
    assert foreman.deliveries == [True, True]


def test_an_attempt_that_is_asked_to_end_ends_the_shift(begun: list[str]) -> None:
    def agent() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()

    behaviour = Behaviour(agent, name="agent")
    behaviour.prepare("test")
    foreman = Foreman([attempt("t1")], [attempt("t2")])
    with pytest.raises(Cancelled):
        work(foreman, {"agent": behaviour}, {}, begun.append)
    assert foreman.calls == ["ask"]


# Sessions in memory ---------------------------------------------------------------------------------------------------


def test_a_session_is_kept_from_one_attempt_to_the_next(begun: list[str]) -> None:
    foreman = Foreman(
        [attempt("t1", session="s", keep="a")],
        [attempt("t2", session="s", keep="b"), attempt("t3", session="other"), attempt("t4", session="s"), END],
    )
    assert shift(foreman, begun)
    assert foreman.deliveries == [["a"], ["a", "b"], [], ["a", "b"]]


def test_of_a_failed_attempt_nothing_is_kept(begun: list[str]) -> None:
    foreman = Foreman(
        [attempt("t1", session="s", keep="lost", how="raise")],
        [attempt("t2", session="s", keep="kept"), attempt("t3", session="s"), END],
    )
    shift(foreman, begun)
    assert foreman.deliveries == ["broken", ["kept"], ["kept"]]


def test_of_what_the_coordinator_did_not_take_nothing_is_kept(begun: list[str]) -> None:
    foreman = Foreman(
        [attempt("t1", session="s", keep="lost"), attempt("t2", session="s"), END],
        [InvalidArgument("memory_writes", "is none"), END],
    )
    shift(foreman, begun)
    assert foreman.deliveries == [["lost"], []]


def test_the_end_of_a_shift_is_the_end_of_its_sessions(begun: list[str]) -> None:
    shift(Foreman([attempt("t1", session="s", keep="a")]), begun)
    foreman = Foreman([attempt("t2", session="s")])
    shift(foreman, begun)
    assert foreman.deliveries == [[]]
