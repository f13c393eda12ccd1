"""Retries, limits, deadlines, dead letters and retention, as clients see them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hundredfold import Limits, Retry, Submission, SyncClient
from hundredfold.errors import InvalidArgument, TaskHasResult, TaskNotEnded, UnknownTask
from hundredfold.testing.coordinator import CoordinatorProcess, eventually
from hundredfold.v1 import attempt_pb2, task_pb2

TWICE = Retry(max_attempts=2, initial_seconds=0)
ONCE = Retry(max_attempts=1)


def outcomes(task: task_pb2.Task) -> list[str]:
    name = attempt_pb2.AttemptOutcome.Name
    return [name(attempt.outcome).removeprefix("ATTEMPT_OUTCOME_") for attempt in task.attempts]


def test_a_dead_letter_is_found_tried_again_and_discarded(client: SyncClient) -> None:
    task_id = client.submit("end", {"how": "SIGKILL"}, retry=TWICE).id
    task = client.wait(task_id)
    assert (outcomes(task), task.state) == (["SIGNALLED", "SIGNALLED"], task_pb2.TASK_STATE_FAILED)
    assert task.dead_letter_cause == task_pb2.DEAD_LETTER_CAUSE_RETRIES_EXHAUSTED
    assert task_id in [letter.id for letter in client.list(dead_letters=True)]
    assert client.retry(task_id).state not in (task_pb2.TASK_STATE_FAILED, task_pb2.TASK_STATE_SUCCEEDED)
    assert outcomes(client.wait(task_id)) == ["SIGNALLED"] * 4
    eventually(lambda: client.get(task_id).attempts[-1].HasField("receipt"), what="its end")
    client.delete(task_id)
    with pytest.raises(UnknownTask):
        client.get(task_id)
    assert task_id not in [letter.id for letter in client.list(dead_letters=True)]
    with pytest.raises(UnknownTask):
        client.retry(task_id)


def test_only_what_has_ended_without_a_result_is_tried_again(client: SyncClient, tmp_path: Path) -> None:
    done = client.wait(client.submit("square", {"number": 2}).id)
    with pytest.raises(TaskHasResult):
        client.retry(done.id)
    held = client.submit("hold", {"path": str(tmp_path / "go")}).id
    for change in (client.retry, client.delete):
        with pytest.raises(TaskNotEnded):
            change(held)
    client.cancel(held)
    client.wait(held)
    (tmp_path / "go").touch()
    client.retry(held)
    assert client.wait(held).state == task_pb2.TASK_STATE_SUCCEEDED


def test_an_agent_is_ended_at_its_wall_limit(client: SyncClient) -> None:
    task_id = client.submit("nap", {"seconds": 60}, limits=Limits(wall_seconds=0.5), retry=ONCE).id
    task = client.wait(task_id)
    assert (outcomes(task), task.failure.type) == (["TIMED_OUT"], "WallLimit")
    eventually(lambda: client.get(task_id).attempts[0].HasField("receipt"), what="the receipt")
    receipt = client.get(task_id).attempts[0].receipt
    assert receipt.kill_cause == attempt_pb2.KILL_CAUSE_WALL_LIMIT
    assert receipt.requested_limits.wall_time.ToMilliseconds() == 500
    assert receipt.effective_limits.wall_time.ToMilliseconds() == 500
    assert (receipt.containment != attempt_pb2.CONTAINMENT_UNSPECIFIED, receipt.survivors) == (True, 0)
    stamps = [receipt.fork_time, receipt.exit_time, receipt.empty_time]
    assert [stamp.ToNanoseconds() for stamp in stamps] == sorted(stamp.ToNanoseconds() for stamp in stamps)


def test_a_task_expires_while_it_runs(client: SyncClient) -> None:
    task = client.wait(client.submit("nap", {"seconds": 60}, schedule_to_close_seconds=0.5).id)
    assert (task.state, outcomes(task)) == (task_pb2.TASK_STATE_EXPIRED, ["TIMED_OUT"])
    assert task.dead_letter_cause == task_pb2.DEAD_LETTER_CAUSE_EXPIRED


def test_a_task_waits_for_its_time(client: SyncClient) -> None:
    begin = datetime.now(UTC) + timedelta(seconds=1)
    task_id = client.submit("square", {"number": 2}, not_before=begin).id
    gate = client.get(task_id).gate
    assert (gate.kind, "it may start at" in gate.detail) == (task_pb2.GATE_KIND_DELAYED, True)
    assert client.wait(task_id).start_time.ToDatetime(UTC) >= begin


def test_limits_that_are_none_are_refused_by_their_name(client: SyncClient) -> None:
    with pytest.raises(InvalidArgument, match=r"`memory_bytes` is 5"):
        client.submit("square", {"number": 2}, limits=Limits(memory_bytes=5))
    with pytest.raises(InvalidArgument, match=r"spec\.priority"):
        client.submit("square", {"number": 2}, priority=1000)


def test_the_answer_says_what_holds(client: SyncClient) -> None:
    task = client.submit("square", {"number": 2}, limits=Limits(memory_bytes=1 << 30))
    assert (task.spec.limits.memory_bytes, task.spec.limits.processes) == (1 << 30, 1000)
    assert task.spec.limits.wall_time.seconds == 3600


def test_old_tasks_are_deleted_and_dead_letters_kept(start: Callable[..., CoordinatorProcess]) -> None:
    process = start()
    with process.client() as client:
        wishes = [Submission("square", {"number": n}, request_id=f"r{n}") for n in range(30)]
        ids = [task.id for task in client.submit_many(wishes)]
        dead = client.submit("end", {"how": "raise"}).id
        list(client.as_ended([*ids, dead]))
    process.stop()
    with start("--retention-tasks", "5").client() as client:
        eventually(lambda: len(list(client.list())) == 6, what="deletion of the oldest")
        assert {task.id for task in client.list()} == {*ids[-5:], dead}
        assert client.submit("square", {"number": 0}, request_id="r0").id != ids[0]
