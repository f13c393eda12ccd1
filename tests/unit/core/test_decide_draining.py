"""Shows how a coordinator stops: nothing new starts, what runs may go on, then it is ended and queued again."""

from typing import TYPE_CHECKING

from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import attempt_pb2
from hundredfold_coordinator import keys
from hundredfold_coordinator.core import effects, events

if TYPE_CHECKING:
    from tests.unit.core.conftest import Core, Told


def begin(core: "Core") -> "Told":
    return core.tell(events.DrainBegan, reply="operator")


def expire(core: "Core", grace_seconds: float = 2) -> "Told":
    return core.tell(events.DrainExpired, grace_seconds=grace_seconds)


def test_stopping_is_answered(core: "Core") -> None:
    told = begin(core)
    assert told.reply is None
    assert told.writes == {}


def test_nothing_starts_any_more(house: "Core") -> None:
    house.limit(concurrency=1)
    house.run("t1")
    house.submit("t2")
    begin(house)
    assert house.exited("t1").all(effects.Launch) == []
    assert house.attach("host-2").all(effects.Launch) == []
    assert house.states("t2") == ["QUEUED"]


def test_what_runs_may_finish(house: "Core") -> None:
    attempt = house.run("t1")
    begin(house)
    house.emit(attempt, 1)
    assert house.complete(attempt).reply is None
    house.exited("t1")
    assert house.states("t1")[-1] == "SUCCEEDED"


def test_what_was_launched_may_still_be_taken(house: "Core") -> None:
    launch = house.submit("t1").one(effects.Launch)
    begin(house)
    assert house.take(launch.credential).reply.task.id == "t1"


def test_what_does_not_finish_is_ended_and_queued_again(house: "Core") -> None:
    attempt = house.run("t1")
    begin(house)
    told = expire(house)
    assert told.one(effects.Kill) == effects.Kill("host-1", attempt, 2)
    assert house.stored("t1").end_request.cause == records_pb2.END_CAUSE_DRAIN
    ended = house.exited("t1", signal=15)
    assert ended.all(effects.Announce) == []
    assert ended.all(effects.Launch) == []
    assert house.states("t1")[-1] == "QUEUED"
    assert house.history("t1")[-1].state_change.reason == "the coordinator stopped"
    assert house.stored("t1").task.attempts[0].outcome == attempt_pb2.ATTEMPT_OUTCOME_DRAINED
    assert house.has(keys.live("t1"))


def test_the_next_coordinator_starts_it(house: "Core") -> None:
    house.run("t1")
    begin(house)
    expire(house)
    house.exited("t1", signal=15)
    house.restart()
    told = house.attach("host-2")
    assert told.one(effects.Launch).attempt == ("t1", 2)
    assert not house.stored("t1").HasField("end_request")
    house.take(told.one(effects.Launch).credential)
    house.exited("t1", exit_code=1)
    outcomes = [attempt.outcome for attempt in house.stored("t1").task.attempts]
    # The wish to stop was about the first attempt.
    assert outcomes == [attempt_pb2.ATTEMPT_OUTCOME_DRAINED, attempt_pb2.ATTEMPT_OUTCOME_EXITED]


def test_a_drain_that_was_cut_short_is_finished_by_the_next_coordinator(house: "Core") -> None:
    attempt = house.run("t1")
    expire(house)
    house.restart()
    assert house.attach(inventory=[attempt]).one(effects.Kill).attempt == attempt
    told = house.exited("t1", signal=15)
    assert told.one(effects.Launch).attempt == ("t1", 2)


def test_draining_is_not_held_against_a_task(house: "Core") -> None:
    house.submit("t1")
    for _ in range(10):
        expire(house)
        assert house.exited("t1", signal=15).one(effects.Launch)
    assert house.states("t1")[-1] == "LAUNCHING"


def test_a_cancellation_is_stronger_than_a_drain(house: "Core") -> None:
    house.run("t1")
    house.cancel("t1", "enough")
    expire(house)
    assert house.stored("t1").end_request.cause == records_pb2.END_CAUSE_CANCEL
    house.exited("t1", signal=15)
    assert house.states("t1")[-1] == "CANCELLED"


def test_a_cancellation_after_a_drain_counts(house: "Core") -> None:
    house.run("t1")
    expire(house)
    house.cancel("t1")
    house.exited("t1", signal=15)
    assert house.states("t1")[-1] == "CANCELLED"


def test_a_result_on_the_way_counts(house: "Core") -> None:
    attempt = house.run("t1")
    expire(house)
    assert house.complete(attempt).reply is None
    house.exited("t1")
    assert house.states("t1")[-1] == "SUCCEEDED"


def test_a_failure_while_being_stopped_is_not_the_end(house: "Core") -> None:
    attempt = house.run("t1")
    expire(house)
    house.fail(attempt, "my program was terminated")
    house.exited("t1")
    assert house.states("t1")[-2:] == ["QUEUED", "LAUNCHING"]


def test_who_has_delivered_is_ended_too(house: "Core") -> None:
    attempt = house.run("t1")
    house.complete(attempt)
    told = expire(house)
    assert told.one(effects.Kill).attempt == attempt
    assert told.writes == {}


def test_with_nothing_alive_there_is_nothing_to_end(house: "Core") -> None:
    assert expire(house).effects == []
