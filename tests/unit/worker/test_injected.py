"""Shows what is done to attempts on purpose: when, which way, and to nobody else."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hundredfold.v1 import attempt_pb2, task_pb2
from hundredfold.v1 import worker_service_pb2 as pb
from hundredfold_worker import injected
from hundredfold_worker.injected import Injected

if TYPE_CHECKING:
    from tests.unit.worker.conftest import Stage

TIME = 0.05


def wanted(fault: str = "UNSPECIFIED", *, canary: bool = False, seconds: float = TIME) -> task_pb2.Injection:
    found = task_pb2.Injection(fault=task_pb2.Fault.Value(f"FAULT_{fault}"), canary=canary)
    found.time.FromMilliseconds(round(seconds * 1000))
    return found


def in_a_fork(function: Callable[[], object]) -> int:
    """Run a function in a child of its own; return its wait status, 0 if it has returned."""
    pid = os.fork()
    if not pid:
        try:
            for number in (signal.SIGTERM, signal.SIGALRM):  # pytest listens to the latter
                signal.signal(number, signal.SIG_DFL)
            function()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1]


@pytest.fixture
def emitted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """What is emitted; the process has no trace before and none afterwards."""
    monkeypatch.setenv("HUNDREDFOLD_CANARY", "")
    yield []
    injected._leaked.clear()


def one(emitted: list[object], task_id: str, injection: task_pb2.Injection) -> Injected:
    return Injected(pb.NextAttemptResponse(task_id=task_id, injection=injection), emitted.append)


# Faults ---------------------------------------------------------------------------------------------------------------


def test_without_a_fault_nothing_is_done(run: "Stage", monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    assert run(lambda: 1).result == 1
    assert run(lambda: 1, injection=wanted()).result == 1
    assert slept == []


def test_a_timeout_is_what_a_call_of_the_behaviour_would_raise(run: "Stage") -> None:
    called: list[int] = []
    began = time.monotonic()
    failure = run(lambda: called.append(1), injection=wanted("TIMEOUT")).failure
    assert time.monotonic() - began >= TIME
    assert (failure.type, failure.outcome) == ("TimeoutError", attempt_pb2.ATTEMPT_OUTCOME_RAISED)
    assert "injected" in failure.message
    assert not called


def test_a_slow_one_takes_its_time_and_succeeds(run: "Stage") -> None:
    began = time.monotonic()
    assert run(lambda: 1, injection=wanted("SLOW")).result == 1
    assert time.monotonic() - began >= TIME


def test_a_time_that_is_not_given_is_two_seconds(emitted: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    one(emitted, "t1", task_pb2.Injection(fault=task_pb2.FAULT_SLOW)).before()
    assert slept == [2.0]


def test_a_leak_stays_in_the_process(emitted: list[object]) -> None:
    one(emitted, "t1", wanted("LEAK")).before()
    one(emitted, "t2", wanted("LEAK")).before()
    assert [len(leak) for leak in injected._leaked] == [64 << 20] * 2


def test_a_crash_comes_when_everything_is_done_and_nothing_delivered(run: "Stage") -> None:
    reader, writer = os.pipe()
    run.before = lambda: os.write(writer, b"delivered")
    status = in_a_fork(lambda: run(lambda: os.write(writer, b"done"), injection=wanted("CRASH")))
    os.close(writer)
    said = os.read(reader, 100)
    os.close(reader)
    assert os.WIFSIGNALED(status)
    assert (os.WTERMSIG(status), said) == (signal.SIGKILL, b"done")


def test_a_hang_lasts_until_a_signal_ends_it(run: "Stage") -> None:
    def ended_by_an_alarm() -> None:
        signal.setitimer(signal.ITIMER_REAL, 2 * TIME)
        run(lambda: 1, injection=wanted("HANG"))

    status = in_a_fork(ended_by_an_alarm)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGALRM


def test_a_hang_goes_on_after_a_signal_that_ends_nobody(emitted: list[object]) -> None:
    def woken_once() -> None:
        signal.signal(signal.SIGALRM, lambda *_: signal.signal(signal.SIGALRM, signal.SIG_DFL))
        signal.setitimer(signal.ITIMER_REAL, TIME, TIME)
        one(emitted, "t1", wanted("HANG")).before()

    assert os.WTERMSIG(in_a_fork(woken_once)) == signal.SIGALRM


# Canary ---------------------------------------------------------------------------------------------------------------


def test_a_trace_of_another_task_is_told(emitted: list[object]) -> None:
    for task_id in ("t1", "t2", "t3"):
        one(emitted, task_id, wanted(canary=True)).before()
    assert emitted == [{"canary": "t1"}, {"canary": "t2"}]


def test_a_tasks_own_trace_is_not(emitted: list[object]) -> None:
    for _ in range(2):
        one(emitted, "t1", wanted(canary=True)).before()
    assert emitted == []


def test_who_does_not_look_leaves_no_trace(emitted: list[object]) -> None:
    one(emitted, "t1", wanted()).before()
    one(emitted, "t2", wanted(canary=True)).before()
    assert emitted == []


def test_a_trace_is_looked_for_before_a_fault(run: "Stage", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUNDREDFOLD_CANARY", "t0")
    done = run(lambda: 1, injection=wanted("TIMEOUT", canary=True, seconds=0.001))
    assert (done.failure.type, done.events) == ("TimeoutError", [{"canary": "t0"}])


def test_what_is_found_comes_with_the_attempts_own_events(run: "Stage", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUNDREDFOLD_CANARY", "t0")

    def agent(ctx: Any) -> None:
        ctx.emit("mine")

    assert run(agent, injection=wanted(canary=True)).events == [{"canary": "t0"}, "mine"]
