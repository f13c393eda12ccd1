"""Shows what comes of submitting and of cancelling: the answer, what is written, and what is left alone."""

from typing import TYPE_CHECKING

import pytest
from hundredfold.errors import Draining, QueueFull, RequestIdReused
from hundredfold.internal.v1 import records_pb2
from hundredfold.stores.contract import ABSENT
from hundredfold.v1 import attempt_pb2, payload_pb2, task_pb2
from hundredfold_coordinator import keys
from hundredfold_coordinator.core import effects, events, submission

if TYPE_CHECKING:
    from tests.unit.core.conftest import Core


# Submitting -----------------------------------------------------------------------------------------------------------


def test_an_accepted_task_is_answered_with_its_id(core: "Core") -> None:
    told = core.submit("t1")
    assert told.reply == "t1"
    assert told.one(effects.Reply).to == "client"
    assert told.one(effects.Publish).task_id == "t1"


def test_an_accepted_task_is_written_in_one_batch(core: "Core") -> None:
    told = core.submit("t1", session="s", labels={"run": "r"}, request_id="once")
    assert set(told.writes) == {
        keys.task("t1"),
        keys.live("t1"),
        keys.input_of("t1"),
        keys.event("t1", 1),
        keys.request("once"),
    }
    task = core.stored("t1").task
    assert (task.id, task.state) == ("t1", task_pb2.TASK_STATE_QUEUED)
    assert (task.spec.behaviour, task.spec.session, dict(task.spec.labels)) == ("b", "s", {"run": "r"})
    assert task.create_time.ToNanoseconds() == core.now_ns


def test_an_input_is_kept_apart_from_the_record(core: "Core") -> None:
    told = core.submit("t1", input=payload_pb2.Payload(content_type="application/json", data=b'{"canary": 1}'))
    holders = [key for key, value in told.writes.items() if value and b"canary" in value]
    assert holders == [keys.input_of("t1")]
    assert not core.stored("t1").task.spec.HasField("input")


def test_what_must_be_new_is_written_only_where_nothing_is(core: "Core") -> None:
    told = core.submit("t1", request_id="once")
    insisted = {write.key for write in told.batch.writes if write.expects == ABSENT}
    assert insisted == {keys.live("t1"), keys.request("once")}


def test_without_a_host_a_task_waits(core: "Core") -> None:
    assert core.submit("t1").all(effects.Launch) == []
    assert "t1" in core.state.queue
    assert core.states("t1") == ["QUEUED"]


def test_with_a_host_its_launch_is_part_of_the_same_commit(house: "Core") -> None:
    told = house.submit("t1")
    assert told.one(effects.Launch).attempt == ("t1", 1)
    assert house.stored("t1").task.state == task_pb2.TASK_STATE_LAUNCHING
    assert house.states("t1") == ["QUEUED", "LAUNCHING"]


# The same request again -----------------------------------------------------------------------------------------------


def test_a_request_id_makes_one_task(house: "Core") -> None:
    house.submit("t1", request_id="once")
    again = house.submit("t2", request_id="once")
    assert again.reply == "t1"
    assert again.writes == {}
    assert "t2" not in house.state.tasks


def test_without_a_request_id_every_submission_is_a_task(core: "Core") -> None:
    assert [core.submit(task_id).reply for task_id in ("t1", "t2")] == ["t1", "t2"]


def test_a_request_id_is_known_after_a_restart(core: "Core") -> None:
    core.submit("t1", request_id="once")
    core.restart()
    assert core.state.requests == {}
    assert core.submit("t2", request_id="once").reply == "t1"


def test_a_request_id_is_known_after_its_task_has_ended(house: "Core") -> None:
    house.submit("t1", request_id="once")
    house.exited("t1")
    assert house.submit("t2", request_id="once").reply == "t1"


def test_a_request_id_with_another_content_is_refused(core: "Core") -> None:
    core.submit("t1", request_id="once", digest=b"one")
    told = core.submit("t2", request_id="once", digest=b"two")
    assert isinstance(told.error, RequestIdReused)
    assert told.error.figures() == {"request_id": "once", "task_id": "t1"}
    assert told.writes == {}


def test_what_is_stored_decides_where_memory_has_forgotten(core: "Core") -> None:
    stored = records_pb2.RequestRecord(task_id="old", digest=b"d")
    wanted = {"spec": task_pb2.TaskSpec(), "request_id": "once", "stored": stored, "reply": "client"}
    assert core.tell(events.Submitted, task_id="t2", digest=b"d", **wanted).reply == "old"
    assert isinstance(core.tell(events.Submitted, task_id="t3", digest=b"e", **wanted).error, RequestIdReused)


def test_memory_holds_a_bounded_number_of_request_ids(core: "Core", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "_REMEMBERED_REQUESTS", 2)
    for number in range(4):
        core.submit(f"t{number}", request_id=f"r{number}")
    assert list(core.state.requests) == ["r2", "r3"]
    assert core.submit("t9", request_id="r0").reply == "t0", "the store still knows it"


# Refused --------------------------------------------------------------------------------------------------------------


def test_a_full_queue_refuses_and_says_when_to_come_again(core: "Core") -> None:
    core.limit(queue_limit=2)
    core.submit("t1")
    core.submit("t2")
    told = core.submit("t3", request_id="third")
    assert isinstance(told.error, QueueFull)
    assert told.error.figures() == {"limit": 2, "what": "tasks", "retry_seconds": 5, "setting": "queue_limit"}
    assert told.writes == {}
    assert "t3" not in core.state.tasks


def test_a_refused_request_id_can_be_used_again(core: "Core") -> None:
    core.limit(queue_limit=1)
    core.submit("t1")
    core.submit("t2", request_id="once")
    core.cancel("t1")
    assert core.submit("t3", request_id="once").reply == "t3"


def test_a_full_queue_still_knows_what_it_has_accepted(core: "Core") -> None:
    core.limit(queue_limit=1)
    core.submit("t1", request_id="once")
    assert core.submit("t2", request_id="once").reply == "t1"


def test_what_runs_does_not_fill_the_queue(house: "Core") -> None:
    house.limit(queue_limit=1, concurrency=1)
    assert [house.submit(task_id).reply for task_id in ("t1", "t2")] == ["t1", "t2"]
    assert isinstance(house.submit("t3").error, QueueFull)


def test_while_stopping_nothing_new_is_accepted(core: "Core") -> None:
    core.submit("t1", request_id="once")
    core.tell(events.DrainBegan, reply=None)
    assert isinstance(core.submit("t2").error, Draining)
    assert core.submit("t3", request_id="once").reply == "t1", "it has been accepted before"


# Cancelling -----------------------------------------------------------------------------------------------------------


def test_a_queued_task_is_cancelled_at_once(core: "Core") -> None:
    core.submit("t1")
    told = core.cancel("t1", "not needed")
    task = core.stored("t1").task
    assert told.reply is None
    assert task.state == task_pb2.TASK_STATE_CANCELLED
    assert (task.failure.outcome, task.failure.message) == (attempt_pb2.ATTEMPT_OUTCOME_CANCELLED, "not needed")
    assert task.end_time.ToNanoseconds() == core.now_ns
    assert told.one(effects.Announce).task.state == task_pb2.TASK_STATE_CANCELLED
    assert not core.has(keys.live("t1"))
    assert len(core.state.queue) == 0
    assert core.state.tasks == {}


def test_a_cancelled_task_never_starts(core: "Core") -> None:
    core.submit("t1")
    core.cancel("t1")
    assert core.attach().all(effects.Launch) == []


def test_a_launching_task_is_killed_first(house: "Core") -> None:
    house.submit("t1")
    told = house.cancel("t1")
    assert told.one(effects.Kill) == effects.Kill("host-1", ("t1", 1), 3)
    assert house.stored("t1").task.state == task_pb2.TASK_STATE_LAUNCHING
    house.exited("t1", signal=15)
    assert house.states("t1") == ["QUEUED", "LAUNCHING", "CANCELLED"]


def test_a_running_task_is_killed_first(house: "Core") -> None:
    house.run("t1")
    told = house.cancel("t1", "enough")
    assert told.one(effects.Kill).attempt == ("t1", 1)
    assert house.stored("t1").end_request.cause == records_pb2.END_CAUSE_CANCEL
    ended = house.exited("t1", signal=9).one(effects.Announce).task
    assert (ended.state, ended.failure.message) == (task_pb2.TASK_STATE_CANCELLED, "enough")
    assert ended.attempts[0].outcome == attempt_pb2.ATTEMPT_OUTCOME_CANCELLED


def test_a_second_cancellation_changes_nothing(house: "Core") -> None:
    house.run("t1")
    house.cancel("t1", "first")
    told = house.cancel("t1", "second")
    assert told.all(effects.Kill) == []
    assert told.writes == {}
    assert told.reply is None
    assert house.stored("t1").end_request.reason == "first"


def test_a_cancellation_is_kept_over_a_restart(house: "Core") -> None:
    house.run("t1")
    house.cancel("t1")
    house.restart()
    kill = house.attach(inventory=[("t1", 1)]).one(effects.Kill)
    assert (kill.attempt, kill.grace_seconds) == (("t1", 1), 3)


def test_a_result_that_is_delivered_before_the_kill_counts(house: "Core") -> None:
    attempt = house.run("t1")
    house.cancel("t1")
    house.complete(attempt)
    house.exited("t1")
    assert house.states("t1")[-1] == "SUCCEEDED"


@pytest.mark.parametrize("gone", [True, False])
def test_an_ended_task_cannot_be_cancelled(house: "Core", gone: bool) -> None:  # noqa: FBT001  # parametrized
    house.complete(house.run("t1"))
    if gone:
        house.exited("t1")
    told = house.cancel("t1")
    assert (told.reply, told.writes, told.all(effects.Kill)) == (None, {}, [])
    assert house.states("t1")[-1] == "SUCCEEDED"


def test_cancelling_what_is_not_there_does_no_harm(core: "Core") -> None:
    told = core.cancel("unknown")
    assert (told.reply, told.writes) == (None, {})


def test_cancelling_the_holder_of_a_session_lets_the_next_task_run(house: "Core") -> None:
    house.limit(concurrency=1)
    house.run("t0")
    house.submit("t1", session="s")
    house.submit("t2", session="s")
    house.cancel("t1")
    assert house.exited("t0").one(effects.Launch).attempt == ("t2", 1)
