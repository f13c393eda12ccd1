"""Shows what comes of an attempt's own words: taken, events, checkpoints, a result or a failure, each once."""

from typing import TYPE_CHECKING, Any

import pytest
from hundredfold.errors import EventQuotaExceeded, SessionConflict, StaleAttempt, Unauthenticated
from hundredfold.v1 import attempt_pb2, payload_pb2, session_pb2, task_pb2
from hundredfold_coordinator import keys
from hundredfold_coordinator.core import effects, events

if TYPE_CHECKING:
    from tests.unit.core.conftest import Core


def writes_of(version: int = 0, **writes: Any) -> session_pb2.SessionWrites:
    """Return session writes that say something."""
    said = session_pb2.SessionItem(role="agent", content=b'"hello"')
    return session_pb2.SessionWrites(expected_version=version, append=[said], **writes)


def numbers(core: "Core", task_id: str = "t1") -> list[int]:
    """Return the worker sequences of the events that are kept."""
    return [event.emitted.worker_sequence for event in core.history(task_id) if event.HasField("emitted")]


def emitted(*sequences: int) -> list[task_pb2.Emitted]:
    return [task_pb2.Emitted(worker_sequence=number) for number in sequences]


# Taking ---------------------------------------------------------------------------------------------------------------


def test_a_taken_attempt_runs(house: "Core") -> None:
    launch = house.submit("t1").one(effects.Launch)
    house.now_ns += 5
    told = house.take(launch.credential, pid=77)
    assert told.reply.task.id == "t1"
    task = house.stored("t1").task
    assert task.state == task_pb2.TASK_STATE_RUNNING
    assert task.start_time.ToNanoseconds() == task.attempts[0].start_time.ToNanoseconds() == house.now_ns
    assert task.attempts[0].pid == 77


def test_the_pid_that_a_host_has_reported_counts_more(house: "Core") -> None:
    launch = house.submit("t1").one(effects.Launch)
    house.launched("t1", pid=100)
    house.take(launch.credential, pid=77)
    assert house.stored("t1").task.attempts[0].pid == 100


def test_taking_again_gets_the_same_answer(house: "Core") -> None:
    launch = house.submit("t1").one(effects.Launch)
    first = house.take(launch.credential)
    house.now_ns += 5
    assert house.take(launch.credential).reply == first.reply
    assert house.states("t1") == ["QUEUED", "LAUNCHING", "RUNNING"]
    assert house.stored("t1").task.start_time.ToNanoseconds() == house.now_ns - 5


def test_an_unknown_credential_is_refused(house: "Core") -> None:
    launch = house.submit("t1").one(effects.Launch)
    told = house.take("stolen")
    assert isinstance(told.error, Unauthenticated)
    assert told.writes == {}
    house.exited("t1")
    assert isinstance(house.take(launch.credential).error, Unauthenticated), "it ends with its process"


def test_an_attempt_that_has_delivered_cannot_be_taken_again(house: "Core") -> None:
    launch = house.submit("t1").one(effects.Launch)
    house.take(launch.credential)
    house.complete(("t1", 1))
    assert isinstance(house.take(launch.credential).error, StaleAttempt)


# Events and checkpoints -----------------------------------------------------------------------------------------------


def test_events_are_kept_in_order_and_told(house: "Core") -> None:
    attempt = house.run("t1")
    told = house.emit(attempt, 1, 2)
    assert told.reply is None
    assert [publish.task_id for publish in told.all(effects.Publish)] == ["t1"]
    assert numbers(house) == [1, 2]
    assert [event.sequence for event in house.history("t1")] == [1, 2, 3, 4, 5]
    assert house.stored("t1").task.last_sequence == 5


def test_events_sent_again_are_kept_once(house: "Core") -> None:
    attempt = house.run("t1")
    house.emit(attempt, 1, 2)
    assert house.emit(attempt, 1, 2).writes == {}
    house.emit(attempt, 2, 3)
    assert numbers(house) == [1, 2, 3]


def test_events_are_recognised_after_a_restart(house: "Core") -> None:
    attempt = house.run("t1")
    house.emit(attempt, 1, 2)
    house.restart()
    house.emit(attempt, 2, 3)
    assert numbers(house) == [1, 2, 3]


def test_each_attempt_counts_its_events_anew(house: "Core") -> None:
    house.emit(house.run("t1"), 1)
    house.tell(events.HostLost, host="host-1")
    house.take(house.attach("host-2").one(effects.Launch).credential)
    house.emit(("t1", 2), 1)
    assert numbers(house) == [1, 1]


def test_events_over_the_quota_are_refused_and_those_within_it_kept(house: "Core") -> None:
    house.limit(event_quota=2)
    told = house.emit(house.run("t1"), 1, 2, 3)
    assert isinstance(told.error, EventQuotaExceeded)
    assert numbers(house) == [1, 2]


def test_events_of_a_stale_attempt_are_refused(house: "Core") -> None:
    house.run("t1")
    told = house.emit(("t1", 2), 1)
    assert isinstance(told.error, StaleAttempt)
    assert told.writes == {}


def test_a_checkpoint_is_kept_until_there_is_a_result(house: "Core") -> None:
    attempt = house.run("t1")
    saved = payload_pb2.Payload(data=b"42")
    told = house.tell(events.CheckpointSaved, attempt=attempt, checkpoint=saved, reply="w")
    assert told.reply is None
    assert told.writes == {keys.checkpoint_of("t1"): saved.SerializeToString()}
    house.tell(events.HostLost, host="host-1")
    assert house.has(keys.checkpoint_of("t1")), "the next attempt is given it"
    house.cancel("t1")
    assert house.has(keys.checkpoint_of("t1")), "somebody may want the task tried again"
    house.tell(events.RetryRequested, task_id="t1", stored=house.stored("t1"), reply="client")
    house.take(house.attach().one(effects.Launch).credential)
    house.complete(("t1", 2))
    assert not house.has(keys.checkpoint_of("t1"))


def test_a_checkpoint_of_a_stale_attempt_is_refused(house: "Core") -> None:
    attempt = house.run("t1")
    house.complete(attempt)
    told = house.tell(events.CheckpointSaved, attempt=attempt, checkpoint=payload_pb2.Payload(), reply="w")
    assert isinstance(told.error, StaleAttempt)
    assert told.writes == {}


# Completing -----------------------------------------------------------------------------------------------------------


def test_a_result_its_session_writes_and_its_event_are_one_batch(house: "Core") -> None:
    attempt = house.run("t1", session="s")
    told = house.complete(attempt, "42", session_writes=writes_of(set={"k": b"1"}), emitted=emitted(1))
    assert told.reply is None
    assert set(told.writes) == {
        keys.result_of("t1"),
        keys.session("s"),
        keys.item("s", 0, 1),
        keys.event("t1", 4),
        keys.event("t1", 5),
        keys.checkpoint_of("t1"),
        keys.task("t1"),
    }
    task = house.stored("t1").task
    assert task.state == task_pb2.TASK_STATE_SUCCEEDED
    assert task.attempts[0].outcome == attempt_pb2.ATTEMPT_OUTCOME_COMPLETED
    assert (house.session("s").version, house.session("s").item_count) == (1, 1)
    assert dict(house.session("s").state) == {"k": b"1"}
    news = told.one(effects.Announce)
    assert news.task == task
    assert news.result
    assert news.result.data == b"42"
    assert not task.HasField("result"), "it has a key of its own"


def test_session_items_say_which_attempt_wrote_them(house: "Core") -> None:
    told = house.complete(house.run("t1", session="s"), session_writes=writes_of())
    value = told.writes[keys.item("s", 0, 1)]
    assert value
    item = session_pb2.SessionItem.FromString(value)
    assert (item.role, item.content, item.task_id, item.attempt) == ("agent", b'"hello"', "t1", 1)
    assert item.create_time.ToNanoseconds() == house.now_ns


def test_session_values_are_set_and_deleted(house: "Core") -> None:
    first = writes_of(set={"a": b"1", "b": b"2"})
    house.complete(house.run("t1", session="s"), session_writes=first)
    second = writes_of(1, set={"c": b"3"}, delete=["a", "unknown"])
    house.complete(house.run("t2", session="s"), session_writes=second)
    assert dict(house.session("s").state) == {"b": b"2", "c": b"3"}
    assert (house.session("s").version, house.session("s").item_count) == (2, 2)


def test_without_writes_a_session_stays_as_it_is(house: "Core") -> None:
    house.complete(house.run("t1", session="s"), session_writes=session_pb2.SessionWrites(expected_version=7))
    assert not house.has(keys.session("s"))


def test_who_comes_too_late_for_a_session_is_tried_again(house: "Core") -> None:
    attempt = house.run("t1", session="s")
    told = house.complete(attempt, session_writes=writes_of(3))
    assert isinstance(told.error, SessionConflict)
    assert told.error.figures() == {"session": "s", "version": 0, "expected": 3}
    assert not house.has(keys.session("s"))
    assert not house.has(keys.result_of("t1"))
    assert house.stored("t1").task.attempts[0].outcome == attempt_pb2.ATTEMPT_OUTCOME_CONFLICT
    assert house.states()[-2:] == ["QUEUED", "LAUNCHING"]
    house.take(told.one(effects.Launch).credential)
    assert house.complete(("t1", 2), session_writes=writes_of(0)).reply is None
    assert house.session("s").version == 1


def test_writes_that_are_right_whatever_was_written_are_merged(house: "Core") -> None:
    first = house.run("t1", session="s", session_policy=task_pb2.SESSION_POLICY_CONCURRENT)
    second = house.run("t2", session="s", session_policy=task_pb2.SESSION_POLICY_CONCURRENT)
    for attempt in (first, second):
        writes = writes_of(0, merge=True)
        writes.append[0].role = attempt[0]
        assert house.complete(attempt, session_writes=writes).reply is None
    items = [house.store.get([keys.item("s", 0, number)])[0] for number in (1, 2)]
    assert [session_pb2.SessionItem.FromString(item.value).role for item in items if item] == ["t1", "t2"]
    assert house.session("s").version == 2


def test_who_is_told_to_end_and_comes_too_late_is_not_tried_again(house: "Core") -> None:
    attempt = house.run("t1", session="s")
    house.cancel("t1")
    assert isinstance(house.complete(attempt, session_writes=writes_of(3)).error, SessionConflict)
    house.exited("t1")
    assert house.states()[-1] == "CANCELLED"


def test_session_writes_of_a_task_without_session_are_not_kept(house: "Core") -> None:
    house.complete(house.run("t1"), session_writes=writes_of())
    assert not house.has(keys.session(""))
    house.complete(house.run("t2"), session_writes=writes_of())


def test_the_same_result_again_is_answered_alike(house: "Core") -> None:
    attempt = house.run("t1", session="s")
    house.complete(attempt, "42", session_writes=writes_of())
    again = house.complete(attempt, "42", session_writes=writes_of())
    assert again.reply is None
    assert again.writes == {}
    house.restart()
    assert house.complete(attempt, "42", session_writes=writes_of()).reply is None
    assert house.session("s").version == 1


def test_another_result_is_refused(house: "Core") -> None:
    attempt = house.run("t1")
    house.complete(attempt, "42")
    told = house.complete(attempt, "43")
    assert isinstance(told.error, StaleAttempt)
    assert told.error.figures() == {"task_id": "t1", "attempt": 1}
    assert told.writes == {}


def test_a_result_of_a_stale_attempt_is_refused(house: "Core") -> None:
    attempt = house.run("t1")
    house.tell(events.HostLost, host="host-1")
    assert isinstance(house.complete(attempt).error, StaleAttempt)
    house.take(house.attach("host-2").one(effects.Launch).credential)
    assert isinstance(house.complete(attempt).error, StaleAttempt)
    assert house.complete(("t1", 2)).reply is None
    assert isinstance(house.complete(attempt).error, StaleAttempt)


@pytest.mark.parametrize("task_id", ["t1", "unknown"])
def test_a_result_of_what_does_not_run_is_refused(house: "Core", task_id: str) -> None:
    house.submit("t1")
    assert isinstance(house.complete((task_id, 1)).error, StaleAttempt)


def test_events_that_come_with_a_result_count_like_others(house: "Core") -> None:
    house.limit(event_quota=3)
    attempt = house.run("t1")
    house.emit(attempt, 1, 2)
    assert house.complete(attempt, emitted=emitted(2, 3, 4)).reply is None
    assert numbers(house) == [1, 2, 3]


# Failing and staying --------------------------------------------------------------------------------------------------


def test_a_failure_is_recorded(house: "Core") -> None:
    told = house.fail(house.run("t1"), "it is broken", emitted=emitted(1))
    assert told.reply is None
    task = told.one(effects.Announce).task
    assert (task.state, task.failure.message) == (task_pb2.TASK_STATE_FAILED, "it is broken")
    assert task.attempts[0].outcome == attempt_pb2.ATTEMPT_OUTCOME_RAISED
    assert house.history("t1")[-1].state_change.reason == "E: it is broken"
    assert numbers(house) == [1]
    assert not house.has(keys.result_of("t1"))


def test_a_failure_after_a_result_is_refused(house: "Core") -> None:
    attempt = house.run("t1")
    house.complete(attempt)
    told = house.fail(attempt)
    assert isinstance(told.error, StaleAttempt)
    assert told.writes == {}


def test_the_same_failure_again_is_answered_alike(house: "Core") -> None:
    attempt = house.run("t1")
    house.fail(attempt)
    assert house.fail(attempt).reply is None


@pytest.mark.parametrize("deliver", ["complete", "fail"])
def test_who_stays_after_delivering_is_killed(house: "Core", deliver: str) -> None:
    reminder = getattr(house, deliver)(house.run("t1")).one(effects.Remind)
    assert reminder.after_seconds == 5
    told = house.tell(events.Overstayed, attempt=reminder.event.attempt)
    assert told.one(effects.Kill) == effects.Kill("host-1", ("t1", 1), 0)
    assert told.writes == {}
    house.exited("t1")
    assert house.tell(events.Overstayed, attempt=reminder.event.attempt).effects == [], "it has left"
