"""Shows what a run makes of its tasks: seconds since the first submission, attempts, faults, traces."""

from hashlib import sha256
from typing import Any

from hundredfold import Injection
from hundredfold.v1 import attempt_pb2, task_pb2
from hundredfold_coordinator.trial.outcome import Run, Try, outcomes_of

BEGIN = 1_700_000_000


def a_task(task_id: str, submitted: float, ended: float, state: str = "SUCCEEDED", **spec: Any) -> task_pb2.Task:
    found = task_pb2.Task(id=task_id, state=task_pb2.TaskState.Value(f"TASK_STATE_{state}"), spec=spec)
    found.create_time.FromMilliseconds(round((BEGIN + submitted) * 1000))
    found.end_time.FromMilliseconds(round((BEGIN + ended) * 1000))
    return found


def add_try(task: task_pb2.Task, began: float | None, ended: float, outcome: str = "COMPLETED", pid: int = 7) -> None:
    attempt = task.attempts.add(outcome=attempt_pb2.AttemptOutcome.Value(f"ATTEMPT_OUTCOME_{outcome}"), pid=pid)
    if began is not None:
        attempt.start_time.FromMilliseconds(round((BEGIN + began) * 1000))
    attempt.end_time.FromMilliseconds(round((BEGIN + ended) * 1000))


def test_a_task_with_a_result() -> None:
    first, second = a_task("t1", 0.5, 4.0, session="s"), a_task("t2", 0, 5.0)
    add_try(first, 1.0, 2.0, "SIGNALLED", 11)
    add_try(first, None, 2.5, "LAUNCH_FAILED", 0)
    add_try(first, 3.0, 4.0, "COMPLETED", 12)
    first.result.data = b"1"
    found, other = outcomes_of([first, second], {0: Injection("crash")}, {"t1": "t2"})
    assert (found.index, found.fault, found.state, found.session, found.canary) == (0, "crash", "SUCCEEDED", "s", "t2")
    assert (found.submitted_s, found.ended_s) == (0.5, 4.0)
    assert found.tries == (Try(1.0, 2.0, "SIGNALLED", 11), Try(3.0, 4.0, "COMPLETED", 12))
    assert (found.latency_s, found.running_s, found.waiting_s) == (3.5, 2.0, 1.5)
    assert found.digest == sha256(b"1").hexdigest()[:16]
    assert (found.failure, found.message) == ("", "")
    assert (other.index, other.fault, other.canary, other.digest, other.submitted_s) == (1, "", "", "", 0)


def test_a_task_without_one() -> None:
    task = a_task("t1", 0, 1, "FAILED")
    task.failure.outcome, task.failure.message = attempt_pb2.ATTEMPT_OUTCOME_DROPPED, "it waited"
    (found,) = outcomes_of([task], {}, {})
    assert (found.state, found.failure, found.message, found.tries) == ("FAILED", "DROPPED", "it waited", ())
    assert not found.succeeded
    assert found.waiting_s == 1


def test_a_clock_that_goes_back_makes_no_negative_times() -> None:
    task = a_task("t1", 0, 1)
    add_try(task, 2.0, 1.0)
    (found,) = outcomes_of([task], {}, {})
    assert (found.running_s, found.waiting_s) == (0, 1)


def test_a_run_lasts_until_its_last_end() -> None:
    assert Run("fresh", 1, outcomes_of([a_task("t1", 0, 3), a_task("t2", 1, 2)], {}, {})).makespan_s == 3
    assert Run("fresh", 1, []).makespan_s == 0
    assert outcomes_of([], {}, {}) == []
