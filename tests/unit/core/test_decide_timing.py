"""Shows what time does: to tasks that wait, to those that should have ended, and to attempts that will not end."""

from typing import TYPE_CHECKING

from hundredfold.errors import StaleAttempt
from hundredfold.v1 import attempt_pb2, policy_pb2, task_pb2
from hundredfold_coordinator.core import effects, events, scheduler, timing
from hundredfold_coordinator.core.state import AttemptId

if TYPE_CHECKING:
    from conftest import Core, Told
else:
    Core = Told = object

SECOND = 1_000_000_000
TWICE = policy_pb2.RetryPolicy(max_attempts=2)


def seconds(field: str, number: float) -> dict[str, task_pb2.TaskSpec]:
    """Return a field of a spec that is a duration."""
    spec = task_pb2.TaskSpec()
    getattr(spec, field).FromNanoseconds(int(number * SECOND))
    return {field: getattr(spec, field)}


def alarm(told: Told, name: str) -> effects.Remind:
    """Return the alarm of this name."""
    (found,) = [one for one in told.all(effects.Remind) if one.alarm[0] == name]
    return found


def outcomes(core: Core, task_id: str = "t1") -> list[str]:
    """Return how the attempts ended."""
    name = attempt_pb2.AttemptOutcome.Name
    return [name(one.outcome).removeprefix("ATTEMPT_OUTCOME_") for one in core.stored(task_id).task.attempts]


def crash(core: Core, task_id: str = "t1") -> Told:
    """Let the newest attempt of a task be killed by somebody."""
    return core.exited(task_id, signal=9)


# Waiting for a time ---------------------------------------------------------------------------------------------------


def test_a_task_waits_for_its_time(house: Core) -> None:
    told = house.submit("t1", **seconds("not_before", 61))
    assert told.all(effects.Launch) == []
    assert alarm(told, "ready").after_seconds == 60
    gate = scheduler.gate(house.state, house.state.tasks["t1"])
    assert (gate.kind, gate.detail) == (task_pb2.GATE_KIND_DELAYED, "it may start at 1970-01-01 00:01:01 UTC")
    assert len(house.state.queue) == 1
    assert house.mature("t1").one(effects.Launch).attempt == ("t1", 1)
    assert not house.stored("t1").task.HasField("next_attempt_time")


def test_a_time_that_has_passed_is_not_waited_for(house: Core) -> None:
    assert house.submit("t1", **seconds("not_before", 0.5)).one(effects.Launch)


def test_a_task_that_waits_for_its_time_lets_its_session_go_on(house: Core) -> None:
    house.submit("t1", session="s", **seconds("not_before", 61))
    assert house.submit("t2", session="s").one(effects.Launch).attempt == ("t2", 1)


def test_a_task_that_failed_is_tried_again_after_a_while(house: Core) -> None:
    house.run("t1")
    told = crash(house)
    assert told.all(effects.Launch) == []
    assert alarm(told, "ready").after_seconds == 1
    assert house.history("t1")[-1].state_change.reason.endswith("tried again in 1.0 s")
    assert house.mature("t1").one(effects.Launch).attempt == ("t1", 2)
    assert outcomes(house) == ["SIGNALLED", "UNSPECIFIED"]
    assert house.stored("t1").task.attempts[0].failure.type == "SIGKILL"


def test_a_task_that_is_tried_again_keeps_its_session_meanwhile(house: Core) -> None:
    house.run("t1", session="s")
    house.submit("t2", session="s")
    assert crash(house).all(effects.Launch) == []
    assert house.mature("t1").one(effects.Launch).attempt == ("t1", 2)


def test_what_waits_for_its_time_can_be_cancelled(house: Core) -> None:
    house.run("t1", session="s")
    crash(house)
    told = house.cancel("t1")
    assert effects.Dismiss(("ready", "t1")) in told.effects
    assert house.states("t1")[-1] == "CANCELLED"
    assert house.mature("t1").effects == []
    assert house.submit("t2", session="s").one(effects.Launch)


def test_the_next_coordinator_waits_for_what_is_left(house: Core) -> None:
    house.submit("t1", **seconds("not_before", 61))
    house.now_ns += 20 * SECOND
    assert alarm(house.restart(), "ready").after_seconds == 40
    house.now_ns += 100 * SECOND
    assert house.restart().all(effects.Remind) == []
    assert house.attach().one(effects.Launch).attempt == ("t1", 1)


def test_higher_priorities_start_first(house: Core) -> None:
    house.limit(concurrency=1)
    house.run("t1")
    for task_id, priority in (("t2", 0), ("t3", 5), ("t4", -5), ("t5", 5)):
        house.submit(task_id, priority=priority)
    order = []
    while len(order) < 4:
        newest = max(house.state.alive)
        house.complete(newest)
        (launch,) = house.exited(newest[0]).all(effects.Launch)
        house.take(launch.credential)
        order.append(launch.attempt[0])
        house.state.alive.keys()
    assert order == ["t3", "t5", "t2", "t4"]


# Deadlines ------------------------------------------------------------------------------------------------------------


def test_a_task_that_never_starts_expires(core: Core) -> None:
    told = core.submit("t1", **seconds("schedule_to_start_timeout", 5))
    assert alarm(told, "start").after_seconds == 5
    task = core.tell(events.StartOverdue, task_id="t1").one(effects.Announce).task
    assert (task.state, task.failure.type) == (task_pb2.TASK_STATE_EXPIRED, "Expired")
    assert task.failure.message == "it was to start within 5 s and had not"
    assert task.dead_letter_cause == task_pb2.DEAD_LETTER_CAUSE_EXPIRED
    assert core.attach().all(effects.Launch) == []


def test_the_time_to_start_begins_with_the_time_it_may(core: Core) -> None:
    told = core.submit("t1", **seconds("schedule_to_start_timeout", 5), **seconds("not_before", 61))
    assert alarm(told, "start").after_seconds == 65


def test_a_task_that_has_started_cannot_be_late_for_that(house: Core) -> None:
    house.run("t1", **seconds("schedule_to_start_timeout", 5))
    assert house.tell(events.StartOverdue, task_id="t1").effects == []
    crash(house)
    assert house.tell(events.StartOverdue, task_id="t1").effects == []


def test_a_task_that_waits_too_long_expires(core: Core) -> None:
    told = core.submit("t1", **seconds("schedule_to_close_timeout", 5))
    assert alarm(told, "close").after_seconds == 5
    assert core.tell(events.CloseOverdue, task_id="t1").one(effects.Announce).task.state == task_pb2.TASK_STATE_EXPIRED
    assert core.tell(events.CloseOverdue, task_id="t1").effects == []


def test_a_task_that_runs_too_long_is_ended_first(house: Core) -> None:
    attempt = house.run("t1", **seconds("schedule_to_close_timeout", 5))
    told = house.tell(events.CloseOverdue, task_id="t1")
    assert told.one(effects.Kill) == effects.Kill("host-1", attempt, 3)
    assert told.all(effects.Announce) == []
    task = house.exited("t1", signal=15).one(effects.Announce).task
    assert task.state == task_pb2.TASK_STATE_EXPIRED
    assert outcomes(house) == ["TIMED_OUT"]


def test_a_cancelled_task_does_not_expire_as_well(house: Core) -> None:
    house.run("t1", **seconds("schedule_to_close_timeout", 5))
    house.cancel("t1", "enough")
    assert house.tell(events.CloseOverdue, task_id="t1").effects == []
    assert house.exited("t1", signal=15).one(effects.Announce).task.state == task_pb2.TASK_STATE_CANCELLED


def test_a_result_that_comes_before_the_end_counts(house: Core) -> None:
    attempt = house.run("t1", **seconds("schedule_to_close_timeout", 5))
    house.tell(events.CloseOverdue, task_id="t1")
    assert house.complete(attempt).one(effects.Announce).task.state == task_pb2.TASK_STATE_SUCCEEDED


def test_no_attempt_is_waited_for_that_would_come_too_late(house: Core) -> None:
    house.run("t1", **seconds("schedule_to_close_timeout", 5))
    house.now_ns += 4_500_000_000
    task = crash(house).one(effects.Announce).task
    assert (task.state, task.failure.type) == (task_pb2.TASK_STATE_FAILED, "SIGKILL")
    assert task.dead_letter_cause == task_pb2.DEAD_LETTER_CAUSE_EXPIRED


def test_deadlines_go_on_under_the_next_coordinator(house: Core) -> None:
    house.run("t1", **seconds("schedule_to_close_timeout", 50), **seconds("schedule_to_start_timeout", 9))
    house.now_ns += 20 * SECOND
    told = house.restart()
    assert [(one.alarm, one.after_seconds) for one in told.all(effects.Remind)] == [(("close", "t1"), 30)]


def test_an_ended_task_leaves_no_alarm(house: Core) -> None:
    attempt = house.run("t1", **seconds("schedule_to_close_timeout", 50), **seconds("schedule_to_start_timeout", 9))
    told = house.complete(attempt)
    assert {one.alarm for one in told.all(effects.Dismiss)} == {("close", "t1"), ("start", "t1")}
    assert effects.Dismiss(("attempt", "t1", 1)) in house.exited("t1").effects


# Attempts that will not end -------------------------------------------------------------------------------------------


def give_up(house: Core, attempt: AttemptId) -> Told:
    """Let the time pass in which a host should have said that an attempt is gone."""
    return house.tell(events.Unresponsive, attempt=attempt)


def limited(house: Core) -> AttemptId:
    """Run a task with a wall limit, and a second attempt if the first one is too slow."""
    attempt = house.run("t1", limits=policy_pb2.Limits(**seconds_of_wall(10)), retry=TWICE)
    told = house.launched("t1")
    assert alarm(told, "attempt").after_seconds == 10 + 3 + timing.CONFIRM_SECONDS
    return attempt


def seconds_of_wall(number: int) -> dict[str, object]:
    limits = policy_pb2.Limits()
    limits.wall_time.FromSeconds(number)
    return {"wall_time": limits.wall_time}


def test_a_limit_goes_along_with_the_launch(house: Core) -> None:
    launch = house.submit("t1", limits=policy_pb2.Limits(**seconds_of_wall(10))).one(effects.Launch)
    assert (launch.limits.wall_time.seconds, launch.grace_seconds) == (10, 3)


def test_an_attempt_that_its_host_ended_for_its_limit_has_timed_out(house: Core) -> None:
    limited(house)
    house.exited("t1", signal=9, kill_cause=attempt_pb2.KILL_CAUSE_WALL_LIMIT)
    house.mature("t1")
    assert outcomes(house) == ["TIMED_OUT", "UNSPECIFIED"]
    assert "longer than its limit of 10 s" in house.stored("t1").task.attempts[0].failure.message


def test_an_attempt_that_will_not_end_is_given_up_and_fenced(house: Core) -> None:
    attempt = limited(house)
    told = give_up(house, attempt)
    assert told.one(effects.Kill) == effects.Kill("host-1", attempt, 0)
    second = house.mature("t1").one(effects.Launch)
    house.take(second.credential)
    assert outcomes(house) == ["FENCED", "UNSPECIFIED"]
    # It wakes up, and tries to deliver.
    assert isinstance(house.complete(attempt).error, StaleAttempt)
    assert house.state.tokens[house_token(house, attempt)] == attempt
    assert house.complete(second.attempt).reply is None
    assert house.states("t1")[-1] == "SUCCEEDED"


def house_token(house: Core, attempt: AttemptId) -> bytes:
    return next(token for token, owner in house.state.tokens.items() if owner == attempt)


def test_what_was_given_up_is_known_until_it_is_gone(house: Core) -> None:
    attempt = limited(house)
    give_up(house, attempt)
    second = house.mature("t1").one(effects.Launch)
    house.take(second.credential)
    house.complete(second.attempt)
    house.exited("t1", attempt=second.attempt)
    assert set(house.state.alive) == {attempt}
    house.restart()
    assert set(house.state.alive) == {attempt}
    told = house.attach(inventory=[attempt])
    assert told.one(effects.Kill).attempt == attempt
    house.exited("t1", attempt=attempt, max_rss_bytes=5)
    assert (house.state.tasks, house.state.tokens) == ({}, {})
    assert [one.receipt.max_rss_bytes for one in house.stored("t1").task.attempts] == [5, 0]
    assert house.states("t1")[-1] == "SUCCEEDED"


def test_a_cancelled_task_does_not_hang_on_its_host(house: Core) -> None:
    attempt = house.run("t1")
    told = house.cancel("t1", "enough")
    assert alarm(told, "attempt").after_seconds == 3 + timing.CONFIRM_SECONDS
    task = give_up(house, attempt).one(effects.Announce).task
    assert (task.state, task.failure.message) == (task_pb2.TASK_STATE_CANCELLED, "enough")


def test_one_that_is_gone_is_not_given_up(house: Core) -> None:
    attempt = house.run("t1")
    house.complete(attempt)
    house.exited("t1")
    assert give_up(house, attempt).effects == []


def test_the_remaining_time_is_that_of_the_nearer_end(house: Core) -> None:
    house.submit("t1")
    assert timing.remaining_seconds(house.state.tasks["t1"], house.now_ns) is None
    house.submit("t2", limits=policy_pb2.Limits(**seconds_of_wall(10)), **seconds("schedule_to_close_timeout", 50))
    record = house.state.tasks["t2"]
    assert timing.remaining_seconds(record, house.now_ns + 4 * SECOND) == 6
    record.task.attempts[0].launch_time.FromSeconds(1000)
    assert timing.remaining_seconds(record, house.now_ns + 4 * SECOND) == 46
    assert timing.remaining_seconds(record, house.now_ns + 90 * SECOND) == 0
