"""Shows workers that stay: what they are handed, what ends with them, and what a restart and a lost answer leave."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from figures import MIB, measure
from hundredfold.errors import StaleAttempt, Unauthenticated
from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import attempt_pb2, policy_pb2, task_pb2
from hundredfold_coordinator import keys
from hundredfold_coordinator.core import effects, events, lifecycle
from hundredfold_coordinator.core.resident import Next
from hundredfold_coordinator.core.state import attempt_id
from residents import KILLED, POOL, SEQUENTIAL, STATEFUL, ask, begin, deliver, given, hashed

if TYPE_CHECKING:
    from tests.unit.core.conftest import Core

SECOND = 1_000_000_000


@pytest.fixture
def pool(house: "Core") -> "Core":
    """A house with a pool of one worker."""
    house.limit(pool_size=1, pool_tasks=1000)
    return house


# What is handed over --------------------------------------------------------------------------------------------------


def test_whoever_delivers_is_given_the_next_task_in_the_same_commit(pool: "Core") -> None:
    begin(pool)
    pool.submit("t2", strategy=POOL)
    told = deliver(pool, "t1")
    assert given(told) == "t2"
    assert told.all(effects.Launch) == []
    assert {keys.task("t1"), keys.task("t2"), keys.result_of("t1")} <= told.writes.keys()
    assert pool.states("t2") == ["QUEUED", "RUNNING"]
    attempt = pool.stored("t2").task.attempts[0]
    assert (attempt.pid, attempt.host) == (100, "host-1")
    assert pool.stored("t1").task.state == lifecycle.SUCCEEDED
    assert pool.stored("t1").task.attempts[0].receipt.process_stays
    assert not pool.has(keys.live("t1"))


def test_whoever_is_given_nothing_waits_and_is_given_what_comes(pool: "Core") -> None:
    credential = begin(pool)
    assert deliver(pool, "t1").reply == Next(stay=True)
    assert ask(pool, credential).all(effects.Reply) == []
    replies = pool.submit("t2", strategy=POOL).all(effects.Reply)
    answers = {reply.to: reply.value for reply in replies}
    assert answers["asking"].record.task.id == "t2"


def test_a_pool_grows_to_its_size_and_no_further(house: "Core") -> None:
    house.limit(pool_size=2)
    launches = [house.submit(f"t{number}", strategy=POOL).all(effects.Launch) for number in range(3)]
    assert [len(found) for found in launches] == [1, 1, 0]


def test_tasks_of_another_behaviour_or_environment_have_workers_of_their_own(pool: "Core") -> None:
    begin(pool)
    assert pool.submit("t2", strategy=POOL, behaviour="other").one(effects.Launch).behaviour == "other"
    assert pool.submit("t3", strategy=task_pb2.STRATEGY_FRESH).one(effects.Launch)
    assert deliver(pool, "t1").reply == Next(stay=True)


def test_only_the_limits_that_a_process_can_have_go_to_the_host(pool: "Core") -> None:
    limits = policy_pb2.Limits(memory_bytes=64 << 20, output_bytes=5)
    limits.wall_time.FromSeconds(9)
    sent = pool.submit(strategy=POOL, limits=limits).one(effects.Launch).limits
    assert sent == policy_pb2.Limits(memory_bytes=64 << 20)


def test_a_tenant_does_not_keep_its_workers_from_others(house: "Core") -> None:
    house.limit(pool_size=1, concurrency=1)
    begin(house, tenant="large")
    for number in (2, 3):
        house.submit(f"t{number}", strategy=POOL, tenant="large")
    house.submit("small", strategy=POOL, tenant="small")
    assert given(deliver(house, "t1")) == "small"


def test_a_failure_hands_over_too_and_is_tried_again_by_its_policy(pool: "Core") -> None:
    begin(pool, retry=policy_pb2.RetryPolicy(max_attempts=2))
    pool.submit("t2", strategy=POOL)
    told = pool.fail(pool.newest("t1")[0], wants_next=True)
    assert given(told) == "t2"
    assert pool.stored("t1").task.state == lifecycle.QUEUED
    pool.mature("t1")
    assert given(deliver(pool, "t2")) == "t1"
    assert len(pool.stored("t1").task.attempts) == 2


def test_nobody_is_given_to_a_host_that_is_not_heard_of(pool: "Core") -> None:
    credential = begin(pool)
    deliver(pool, "t1")
    ask(pool, credential)
    pool.tell(events.HostHeard, host="host-1", silent=True)
    assert pool.submit("t2", strategy=POOL).all(effects.Launch) == []
    assert pool.stored("t2").task.state == lifecycle.QUEUED


# Answers that are lost ------------------------------------------------------------------------------------------------


def test_who_delivers_again_is_given_the_same_again(pool: "Core") -> None:
    begin(pool)
    pool.submit("t2", strategy=POOL)
    attempt = pool.newest("t1")[0]
    first = deliver(pool, "t1").reply
    assert pool.complete(attempt, wants_next=True).reply == first
    assert isinstance(pool.complete(attempt, text="2", digest=b"other").error, StaleAttempt)


def test_who_asks_with_its_credential_gets_the_attempt_that_it_has(pool: "Core") -> None:
    credential = begin(pool)
    pool.submit("t2", strategy=POOL)
    deliver(pool, "t1")
    assert attempt_id(pool.take(credential).reply) == ("t2", 1)
    assert list(pool.state.tokens.values()).count(("t2", 1)) == 1


def test_the_token_of_an_attempt_is_good_until_the_next_one_is_over(pool: "Core") -> None:
    credential = begin(pool)
    assert pool.state.tokens[hashed(credential + "-")] == ("t1", 1)
    for number in (2, 3):
        pool.submit(f"t{number}", strategy=POOL)
    deliver(pool, "t1")
    assert hashed(credential + "-") in pool.state.tokens
    deliver(pool, "t2")
    assert hashed(credential + "-") not in pool.state.tokens


def test_a_stranger_is_given_nothing(pool: "Core") -> None:
    assert isinstance(ask(pool, "stranger").error, Unauthenticated)


def test_who_has_waited_long_enough_is_told_to_ask_again_and_at_last_to_end(house: "Core") -> None:
    house.limit(pool_size=1, pool_idle_seconds=30)
    credential = begin(house)
    deliver(house, "t1")
    ask(house, credential)
    late = {"credential_hash": hashed(credential), "waiter": "asking"}
    assert house.tell(events.Withdrawn, **late).reply == Next(stay=True)
    house.now_ns += 31 * SECOND
    ask(house, credential)
    told = house.tell(events.Withdrawn, **late)
    assert told.reply == Next(stay=False)
    alarm = told.one(effects.Remind)
    assert house.tell(events.Overstayed, attempt=("t1", 1)).one(effects.Kill).attempt == ("t1", 1)
    assert alarm.after_seconds == 5
    assert house.submit("t2", strategy=POOL).one(effects.Launch)


def test_who_asks_twice_has_its_older_call_answered(house: "Core") -> None:
    """It has given that up, when it heard nothing for long; nobody is to wait there for ever."""
    house.limit(pool_size=1)
    credential = begin(house)
    deliver(house, "t1")
    ask(house, credential, "first")
    told = ask(house, credential, "second")
    assert [(reply.to, reply.value) for reply in told.all(effects.Reply)] == [("first", Next(stay=True))]
    replies = {one.to for one in house.submit("t2", strategy=POOL).all(effects.Reply)}
    assert replies == {"client", "second"}


def test_who_asks_and_is_gone_has_its_call_answered(pool: "Core") -> None:
    credential = begin(pool)
    deliver(pool, "t1")
    ask(pool, credential)
    told = pool.exited("t1", attempt=("t1", 1), **KILLED)
    assert [(reply.to, reply.value) for reply in told.all(effects.Reply)] == [("asking", Next(stay=False))]


def test_who_asks_and_is_told_to_end_is_killed_if_it_does_not(pool: "Core") -> None:
    credential = begin(pool)
    attempt = pool.newest("t1")[0]
    pool.complete(attempt, wants_next=False, reply=None)
    told = ask(pool, credential)
    assert told.reply == Next(stay=False)
    alarm = told.one(effects.Remind)
    assert alarm.after_seconds == 5
    assert pool.tell(lambda **_: alarm.event).one(effects.Kill).attempt == ("t1", 1)


# The end of a worker --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "wait_seconds"),
    [({"pool_tasks": 2}, 0), ({"pool_seconds": 60}, 61), ({"pool_bytes": 10 << 20}, 0)],
)
def test_a_worker_is_replaced_after_so_many_attempts_seconds_or_bytes(
    house: "Core", limits: dict[str, Any], wait_seconds: int
) -> None:
    house.limit(pool_size=1, **limits)
    begin(house)
    for number in (2, 3):
        house.submit(f"t{number}", strategy=POOL)
    assert given(deliver(house, "t1")) == "t2"
    house.now_ns += wait_seconds * SECOND
    house.state.residents.get(("t1", 1)).used_bytes = 11 << 20  # type: ignore[union-attr]
    told = deliver(house, "t2")
    assert [reply.value for reply in told.all(effects.Reply)] == [Next(stay=False)]
    assert told.one(effects.Launch).attempt == ("t3", 1)
    assert house.exited("t2", attempt=("t1", 1)).all(effects.Kill) == []
    assert house.state.residents.get(("t1", 1)) is None


def test_a_crash_costs_the_attempt_that_was_running_and_no_other(pool: "Core") -> None:
    begin(pool)
    for number in (2, 3):
        pool.submit(f"t{number}", strategy=POOL)
    deliver(pool, "t1")
    told = pool.exited("t2", attempt=("t1", 1), **KILLED)
    attempt = pool.stored("t2").task.attempts[0]
    assert attempt.outcome == attempt_pb2.ATTEMPT_OUTCOME_SIGNALLED
    assert attempt.receipt.signal == 9
    assert told.one(effects.Launch).attempt == ("t3", 1)
    assert pool.stored("t1").task.state == lifecycle.SUCCEEDED
    assert ("t2", 1) not in pool.state.alive


def test_whoever_is_cancelled_takes_the_worker_along(pool: "Core") -> None:
    begin(pool)
    pool.submit("t2", strategy=POOL)
    deliver(pool, "t1")
    told = pool.cancel("t2")
    assert told.one(effects.Kill).attempt == ("t1", 1)
    pool.submit("t3", strategy=POOL)
    assert pool.exited("t2", attempt=("t1", 1), **KILLED)
    assert pool.stored("t2").task.state == lifecycle.CANCELLED


def test_whoever_delivers_while_it_is_to_be_killed_is_given_nothing_more(pool: "Core") -> None:
    begin(pool)
    pool.submit("t2", strategy=POOL)
    pool.cancel("t1")
    answers = {reply.to: reply.value for reply in deliver(pool, "t1").all(effects.Reply)}
    assert answers["w"] == Next(stay=False)
    assert pool.stored("t1").task.state == lifecycle.SUCCEEDED


def test_the_receipt_of_one_that_dies_has_the_time_of_its_last_attempt(pool: "Core") -> None:
    begin(pool)
    pool.now_ns += 60 * SECOND
    pool.submit("t2", strategy=POOL)
    deliver(pool, "t1")
    lifetime = attempt_pb2.Receipt(**KILLED)
    lifetime.wall_time.FromSeconds(67)
    lifetime.exit_time.FromNanoseconds(pool.now_ns + 7 * SECOND)
    pool.now_ns += 9 * SECOND
    pool.tell(events.Exited, host="host-1", number=1, attempt=("t1", 1), receipt=lifetime)
    receipt = pool.stored("t2").task.attempts[0].receipt
    assert (receipt.wall_time.ToSeconds(), receipt.signal) == (7, 9)


def test_the_receipt_of_one_that_dies_at_its_first_attempt_is_that_of_its_process(pool: "Core") -> None:
    begin(pool)
    lifetime = attempt_pb2.Receipt(**KILLED)
    lifetime.wall_time.FromSeconds(3)
    lifetime.exit_time.FromNanoseconds(pool.now_ns + SECOND)
    pool.tell(events.Exited, host="host-1", number=1, attempt=("t1", 1), receipt=lifetime)
    assert pool.stored("t1").task.attempts[0].receipt.wall_time.ToSeconds() == 3


def test_what_a_lost_host_left_has_the_time_of_its_last_attempt_too(pool: "Core") -> None:
    begin(pool)
    pool.now_ns += 60 * SECOND
    pool.submit("t2", strategy=POOL)
    deliver(pool, "t1")
    pool.tell(events.HostLost, host="host-1")
    receipt = attempt_pb2.Receipt(**KILLED)
    receipt.wall_time.FromSeconds(67)
    receipt.exit_time.FromNanoseconds(pool.now_ns + 7 * SECOND)
    pool.tell(events.Buried, attempt=("t2", 1), receipt=receipt)
    assert pool.stored("t2").task.attempts[0].receipt.wall_time.ToSeconds() == 7


def test_a_wall_limit_is_that_of_the_attempt(pool: "Core") -> None:
    limits = policy_pb2.Limits()
    limits.wall_time.FromSeconds(9)
    begin(pool)
    pool.submit("t2", strategy=POOL, limits=limits)
    told = deliver(pool, "t1")
    (alarm,) = [one for one in told.all(effects.Remind) if isinstance(one.event, events.Overrun)]
    assert (alarm.after_seconds, alarm.alarm) == (9, ("attempt", "t2", 1))
    kill = pool.tell(events.Overrun, attempt=("t2", 1)).one(effects.Kill)
    assert (kill.attempt, kill.cause) == (("t1", 1), attempt_pb2.KILL_CAUSE_WALL_LIMIT)
    pool.exited("t2", attempt=("t1", 1), kill_cause=attempt_pb2.KILL_CAUSE_WALL_LIMIT)
    assert pool.stored("t2").task.attempts[0].outcome == attempt_pb2.ATTEMPT_OUTCOME_TIMED_OUT


def test_an_alarm_that_comes_too_late_ends_nobody(pool: "Core") -> None:
    begin(pool)
    deliver(pool, "t1")
    assert pool.tell(events.Overrun, attempt=("t1", 1)).effects == []


def test_idle_workers_make_room_for_whom_there_is_no_memory(house: "Core") -> None:
    house.limit(pool_size=1, memory_reserve_bytes=1)
    measure(house, 900)
    credential = begin(house)
    deliver(house, "t1")
    ask(house, credential)
    told = house.submit("big", limits=policy_pb2.Limits(memory_bytes=100_000 * MIB))
    answers = {reply.to: reply.value for reply in told.all(effects.Reply)}
    assert answers["asking"] == Next(stay=False)


def test_when_the_coordinator_stops_the_idle_are_told_and_the_busy_finish(house: "Core") -> None:
    house.limit(pool_size=2)
    idle = begin(house)
    deliver(house, "t1")
    ask(house, idle)
    house.submit("t2", strategy=POOL)
    answers = {one.to: one.value for one in house.tell(events.DrainBegan, reply="d").all(effects.Reply)}
    assert answers == {"d": None}  # the one worker is busy with t2
    assert deliver(house, "t2").reply == Next(stay=False)


def test_whom_the_drain_ends_goes_back_to_the_queue(pool: "Core") -> None:
    begin(pool)
    pool.submit("t2", strategy=POOL)
    deliver(pool, "t1")
    pool.tell(events.DrainBegan, reply="d")
    assert pool.tell(events.DrainExpired, grace_seconds=1).one(effects.Kill).attempt == ("t1", 1)
    pool.exited("t2", attempt=("t1", 1), kill_cause=attempt_pb2.KILL_CAUSE_REQUESTED)
    assert pool.stored("t2").task.state == lifecycle.QUEUED


def test_the_loss_of_a_host_buries_the_busy_and_the_idle(house: "Core") -> None:
    house.limit(pool_size=2)
    first, _ = begin(house), begin(house, "t2")
    deliver(house, "t1")
    ask(house, first)
    told = house.tell(events.HostLost, host="host-1")
    assert {one.attempt for one in told.all(effects.Bury)} == {("t1", 1), ("t2", 1)}
    assert list(house.state.residents) == []
    assert house.stored("t2").task.attempts[0].outcome == attempt_pb2.ATTEMPT_OUTCOME_HOST_LOST


def test_a_launch_that_fails_leaves_no_worker(pool: "Core") -> None:
    pool.submit(strategy=POOL)
    pool.launch_failed("t1")
    assert pool.state.residents.get(("t1", 1)) is None
    assert [resident.key for resident in pool.state.residents] == [("t1", 2)]


def test_a_launch_that_fails_after_all_costs_the_attempt_that_its_worker_is_at(pool: "Core") -> None:
    """A worker may have begun before the zygote that made it died, which is all that its host has seen."""
    pool.take(pool.submit(strategy=POOL).one(effects.Launch).credential)
    pool.submit("t2", strategy=POOL)
    deliver(pool, "t1")
    failed = {"host": "host-1", "number": 1, "attempt": ("t1", 1), "reason": "no zygote"}
    assert pool.tell(events.LaunchFailed, **failed).one(effects.Launch).attempt == ("t2", 2)
    assert pool.stored("t2").task.attempts[0].outcome == attempt_pb2.ATTEMPT_OUTCOME_LAUNCH_FAILED
    assert set(pool.state.alive) == {("t2", 2)}


# Restarts -------------------------------------------------------------------------------------------------------------


def test_the_next_coordinator_adopts_a_worker_with_the_attempt_that_it_is_at(pool: "Core") -> None:
    begin(pool)
    pool.submit("t2", strategy=POOL)
    deliver(pool, "t1")
    pool.restart()
    assert pool.attach(inventory=[("t1", 1)]).all(effects.Kill) == []
    assert pool.exited("t2", attempt=("t1", 1), **KILLED).all(effects.Acknowledge)
    assert pool.stored("t2").task.attempts[0].outcome == attempt_pb2.ATTEMPT_OUTCOME_SIGNALLED


def test_an_adopted_worker_of_a_pool_finishes_its_attempt_and_is_replaced(pool: "Core") -> None:
    """It has the plugins of the coordinator it was made under; its successor may have been started with others."""
    begin(pool)
    pool.submit("t2", strategy=POOL)
    pool.restart()
    assert [launch.attempt for launch in pool.attach(inventory=[("t1", 1)]).all(effects.Launch)] == [("t2", 1)]
    told = deliver(pool, "t1")
    assert told.reply == Next(stay=False)
    assert isinstance(told.one(effects.Remind).event, events.Overstayed)
    assert pool.stored("t1").task.state == lifecycle.SUCCEEDED


@pytest.mark.parametrize("strategy", [STATEFUL, SEQUENTIAL])
def test_an_adopted_agent_that_lives_long_stays(house: "Core", strategy: task_pb2.Strategy.ValueType) -> None:
    house.limit(pool_size=1)
    begin(house, "t1", strategy)
    house.submit("t2", strategy=strategy)
    house.restart()
    assert house.attach(inventory=[("t1", 1)]).all(effects.Launch) == []
    assert given(deliver(house, "t1")) == "t2"


def test_an_adopted_agent_that_was_asked_to_end_is_given_nothing_more(house: "Core") -> None:
    house.limit(pool_size=1)
    begin(house, "t1", STATEFUL)
    house.cancel("t1")
    house.restart()  # whose worker delivers before its host is there
    assert deliver(house, "t1").reply == Next(stay=False)


@pytest.mark.parametrize("strategy", [POOL, STATEFUL, SEQUENTIAL])
def test_whose_answer_is_lost_with_the_coordinator_is_known_by_the_next_one(
    house: "Core", strategy: task_pb2.Strategy.ValueType
) -> None:
    """It says again what it has delivered, asks, and is given what had been handed to it: nothing has failed."""
    house.limit(pool_size=1)
    credential = begin(house, "t1", strategy)
    house.submit("t2", strategy=strategy, retry=policy_pb2.RetryPolicy(max_attempts=1))
    attempt = house.newest("t1")[0]
    deliver(house, "t1")
    house.restart()
    house.attach(inventory=[("t1", 1)])
    assert house.state.tokens[hashed(credential + "-")] == ("t1", 1)
    assert house.complete(attempt, wants_next=True).reply == Next(stay=True)
    assert isinstance(house.complete(attempt, digest=b"other").error, StaleAttempt)
    assert attempt_id(house.take(credential).reply) == ("t2", 1)
    deliver(house, "t2")
    assert house.stored("t2").task.state == lifecycle.SUCCEEDED
    assert set(house.state.tokens.values()) == {("t2", 1)}


def test_a_task_that_its_own_worker_tries_again_is_not_delivered_for_twice(pool: "Core") -> None:
    """The attempt that was delivered and the one that was handed over are of one task."""
    at_once = policy_pb2.RetryPolicy(max_attempts=2)
    at_once.backoff.initial.FromSeconds(0)
    credential = begin(pool, retry=at_once)
    attempt = pool.newest("t1")[0]
    assert given(pool.fail(attempt, wants_next=True)) == "t1"
    pool.restart()
    pool.attach(inventory=[("t1", 1)])
    assert pool.state.tokens[hashed(credential + "-")] == attempt
    assert pool.fail(attempt, wants_next=True).reply == Next(stay=True)
    assert attempt_id(pool.take(credential).reply) == ("t1", 2)


def test_who_had_delivered_and_been_given_nothing_loses_nothing_with_the_coordinator(pool: "Core") -> None:
    """The next coordinator does not know it; so it ends, and what came in the meantime has a worker of its own."""
    credential = begin(pool)
    attempt = pool.newest("t1")[0]
    deliver(pool, "t1")
    pool.restart()
    assert hashed(credential + "-") not in pool.state.tokens
    assert isinstance(ask(pool, credential).error, Unauthenticated)
    pool.submit("t2", strategy=POOL)
    told = pool.attach()
    assert told.one(effects.Launch).attempt == ("t2", 1)
    ended = pool.tell(events.Exited, host="host-1", number=1, attempt=attempt, receipt=attempt_pb2.Receipt(exit_code=3))
    assert [type(effect) for effect in ended.effects] == [effects.Acknowledge]
    assert pool.stored("t1").task.state == lifecycle.SUCCEEDED
    assert pool.stored("t2").task.state == lifecycle.LAUNCHING


def test_a_worker_that_was_idle_is_nobody_after_a_restart(pool: "Core") -> None:
    credential = begin(pool)
    deliver(pool, "t1")
    pool.restart()
    assert pool.attach(inventory=[("t1", 1)]).one(effects.Kill).attempt == ("t1", 1)
    assert isinstance(ask(pool, credential).error, Unauthenticated)


def test_a_host_that_comes_back_keeps_its_idle_workers(pool: "Core") -> None:
    credential = begin(pool)
    deliver(pool, "t1")
    ask(pool, credential)
    pool.tell(events.HostDetached, host="host-1")
    assert pool.attach(inventory=[("t1", 1)]).all(effects.Kill) == []
    assert {one.to for one in pool.submit("t2", strategy=POOL).all(effects.Reply)} == {"client", "asking"}
    assert pool.stored("t2").task.state == lifecycle.RUNNING


def test_what_a_host_does_not_have_any_more_is_tried_again(pool: "Core") -> None:
    begin(pool)
    pool.submit("t2", strategy=POOL)
    deliver(pool, "t1")
    pool.restart()
    pool.attach()
    assert pool.stored("t2").task.attempts[0].outcome == attempt_pb2.ATTEMPT_OUTCOME_LAUNCH_FAILED
    assert pool.state.residents.get(("t1", 1)) is None


def test_who_was_given_up_has_no_say_in_the_name_of_who_came_after_it(house: "Core") -> None:
    """Their records are one, and the next coordinator finds one credential there: that of the newest attempt."""
    house.limit(pool_size=2)
    rule = policy_pb2.RetryRule(cause=policy_pb2.RETRY_CAUSE_TIMED_OUT, max_attempts=3)
    begin(house, retry=policy_pb2.RetryPolicy(rules=[rule]))
    house.tell(events.Overrun, attempt=("t1", 1))
    house.tell(events.Unresponsive, attempt=("t1", 1))
    house.mature("t1")
    house.launched("t1", pid=200)
    credential = house.minted[-1]
    house.take(credential)
    house.restart()
    house.attach(inventory=[("t1", 1), ("t1", 2)])
    house.exited("t1", attempt=("t1", 1), **KILLED)
    deliver(house, "t1")
    assert ask(house, credential).reply == Next(stay=False)


# Agents that live long ------------------------------------------------------------------------------------------------


def test_tasks_of_a_session_belong_to_one_agent_and_others_take_turns(house: "Core") -> None:
    house.limit(pool_size=4)
    for number in range(8):
        house.submit(f"t{number}", strategy=STATEFUL)
        house.submit(f"s{number}", strategy=STATEFUL, session="s", session_policy=task_pb2.SESSION_POLICY_CONCURRENT)
    assert len({house.stored(f"s{number}").agent for number in range(8)}) == 1
    assert [house.stored(f"t{number}").agent for number in range(8)] == [0, 1, 2, 3, 0, 1, 2, 3]


def test_a_sequential_agent_is_alone_and_keeps_the_order(house: "Core") -> None:
    house.limit(pool_size=4)
    begin(house, "t1", SEQUENTIAL)
    for number in (2, 3, 4):
        assert house.submit(f"t{number}", strategy=SEQUENTIAL).all(effects.Launch) == []
    assert [given(deliver(house, f"t{number}")) for number in (1, 2, 3)] == ["t2", "t3", "t4"]


@pytest.mark.parametrize("strategy", [STATEFUL, SEQUENTIAL])
def test_with_an_agent_dies_what_it_ran_and_what_waited_for_it(
    house: "Core", strategy: task_pb2.Strategy.ValueType
) -> None:
    house.limit(pool_size=1)
    begin(house, "t1", strategy)
    for number in (2, 3):
        house.submit(f"t{number}", strategy=strategy)
    deliver(house, "t1")
    house.exited("t2", attempt=("t1", 1), **KILLED)
    died, dropped = house.stored("t2").task, house.stored("t3").task
    assert (died.state, died.failure.outcome) == (lifecycle.FAILED, attempt_pb2.ATTEMPT_OUTCOME_SIGNALLED)
    assert (dropped.state, len(dropped.attempts)) == (lifecycle.FAILED, 0)
    assert dropped.dead_letter_cause == task_pb2.DEAD_LETTER_CAUSE_DROPPED
    assert dropped.failure.message == (
        "it waited for agent 0, process 100, which is gone: the agent was ended by SIGKILL, which Hundredfold did not "
        "send"
    )
    assert house.submit("t4", strategy=strategy).one(effects.Launch)


@pytest.mark.parametrize("strategy", [STATEFUL, SEQUENTIAL])
@pytest.mark.parametrize("how", ["hangs", "is cancelled"])
def test_what_waits_for_an_agent_that_is_being_ended_goes_with_it(
    house: "Core", how: str, strategy: task_pb2.Strategy.ValueType
) -> None:
    house.limit(pool_size=1)
    begin(house, "t1", strategy)
    waiting = [f"t{number}" for number in range(2, 6)]
    for name in waiting:
        house.submit(name, strategy=strategy)
    told = house.tell(events.Overrun, attempt=("t1", 1)) if how == "hangs" else house.cancel("t1")
    assert told.one(effects.Kill).attempt == ("t1", 1)
    assert told.all(effects.Launch) == []
    assert house.submit("late", strategy=strategy).all(effects.Launch) == []
    ended = house.exited("t1", attempt=("t1", 1), kill_cause=attempt_pb2.KILL_CAUSE_WALL_LIMIT)
    causes = Counter(house.stored(name).task.dead_letter_cause for name in [*waiting, "late"])
    assert causes == {task_pb2.DEAD_LETTER_CAUSE_DROPPED: 5}
    assert ended.all(effects.Launch) == []
    assert house.submit("t9", strategy=strategy).one(effects.Launch).attempt == ("t9", 1)


def test_an_agent_that_delivers_after_all_takes_nothing_more_and_has_no_successor_before_its_end(house: "Core") -> None:
    house.limit(pool_size=1)
    begin(house, "t1", STATEFUL)
    house.submit("t2", strategy=STATEFUL)
    house.tell(events.Overrun, attempt=("t1", 1))
    told = deliver(house, "t1")
    assert (told.reply, told.all(effects.Launch)) == (Next(stay=False), [])
    house.exited("t1", attempt=("t1", 1), kill_cause=attempt_pb2.KILL_CAUSE_WALL_LIMIT)
    assert house.stored("t1").task.state == lifecycle.SUCCEEDED
    assert house.stored("t2").task.dead_letter_cause == task_pb2.DEAD_LETTER_CAUSE_DROPPED


def test_an_agent_that_cannot_be_ended_has_no_successor_of_the_next_coordinator_either(house: "Core") -> None:
    house.limit(pool_size=1)
    begin(house, "t1", STATEFUL)
    house.tell(events.Overrun, attempt=("t1", 1))
    house.tell(events.Unresponsive, attempt=("t1", 1))
    assert house.stored("t1").task.state == lifecycle.FAILED
    house.restart()
    house.attach(inventory=[("t1", 1)])
    assert house.submit("t2", strategy=STATEFUL).all(effects.Launch) == []
    house.exited("t1", attempt=("t1", 1), **KILLED)
    assert house.stored("t2").task.dead_letter_cause == task_pb2.DEAD_LETTER_CAUSE_DROPPED


def test_an_agent_of_another_number_keeps_what_waits_for_it(house: "Core") -> None:
    house.limit(pool_size=2)
    names = {house.submit(f"t{number}", strategy=STATEFUL) and f"t{number}" for number in range(4)}
    by_agent: dict[int, list[str]] = {}
    for name in sorted(names):
        by_agent.setdefault(house.stored(name).agent, []).append(name)
    (dead, waiting), (living, spared) = by_agent.values()
    house.launched(dead)
    house.exited(dead, **KILLED)
    states = {name: house.stored(name).task.state for name in (dead, waiting, living, spared)}
    assert states == {
        dead: lifecycle.FAILED,
        waiting: lifecycle.FAILED,
        living: lifecycle.LAUNCHING,
        spared: lifecycle.QUEUED,
    }


def test_an_agent_that_never_was_drops_nothing(house: "Core") -> None:
    house.limit(pool_size=1)
    house.submit("t1", strategy=STATEFUL)
    house.submit("t2", strategy=STATEFUL)
    house.tell(events.LaunchFailed, host="host-1", number=1, attempt=("t1", 1), reason="fork", transient=True)
    assert house.stored("t2").task.state == lifecycle.QUEUED


def test_with_a_lost_host_the_queue_of_its_agents_is_lost(house: "Core") -> None:
    house.limit(pool_size=1)
    begin(house, "t1", STATEFUL)
    house.submit("t2", strategy=STATEFUL)
    house.tell(events.HostLost, host="host-1")
    assert house.stored("t2").task.dead_letter_cause == task_pb2.DEAD_LETTER_CAUSE_DROPPED


def test_a_stop_drops_nothing(house: "Core") -> None:
    house.limit(pool_size=1)
    begin(house, "t1", STATEFUL)
    house.submit("t2", strategy=STATEFUL)
    house.tell(events.DrainBegan, reply="d")
    house.tell(events.DrainExpired, grace_seconds=1)
    house.exited("t1", kill_cause=attempt_pb2.KILL_CAUSE_REQUESTED)
    assert {house.stored(name).task.state for name in ("t1", "t2")} == {lifecycle.QUEUED}


def test_an_agent_is_not_evicted_and_not_replaced(house: "Core") -> None:
    house.limit(pool_size=1, pool_tasks=1, pool_idle_seconds=0)
    assert not house.submit("t1", strategy=STATEFUL).one(effects.Launch).evictable
    house.launched("t1")
    house.take(house.minted[-1])
    assert deliver(house, "t1").reply == Next(stay=True)


def test_what_was_dropped_can_be_tried_again(house: "Core") -> None:
    house.limit(pool_size=1)
    begin(house, "t1", STATEFUL)
    house.submit("t2", strategy=STATEFUL)
    house.exited("t1", **KILLED)
    told = house.tell(events.RetryRequested, task_id="t2", stored=house.stored("t2"), reply="client")
    assert told.one(effects.Launch).attempt == ("t2", 1)


def test_a_process_that_its_worker_tells_of_is_that_of_its_next_attempts_too(pool: "Core") -> None:
    """Its host tells of it later: all of a short attempt may be over by then."""
    pool.take(pool.submit(strategy=POOL).one(effects.Launch).credential, pid=100)
    pool.submit("t2", strategy=POOL)
    deliver(pool, "t1")
    assert pool.stored("t2").task.attempts[0].pid == 100
    assert pool.stored("t2").alive[1].process.pid == 100


def test_a_process_that_is_told_of_late_is_that_of_the_present_attempt(pool: "Core") -> None:
    pool.take(pool.submit(strategy=POOL).one(effects.Launch).credential)
    pool.submit("t2", strategy=POOL)
    deliver(pool, "t1")
    assert pool.history("t2")[-1].state_change.reason == "in a process that stays"
    process = records_pb2.ProcessIdentity(pid=100, start_ticks=7, boot_id="b")
    told = pool.tell(events.Launched, host="host-1", number=1, attempt=("t1", 1), process=process)
    assert [type(effect) for effect in told.effects] == [effects.Acknowledge]
    assert (pool.stored("t2").alive[1].process, pool.stored("t2").task.attempts[0].pid) == (process, 100)
    pool.submit("t3", strategy=POOL)
    deliver(pool, "t2")
    assert pool.history("t3")[-1].state_change.reason == "in process 100, which stays"


def test_a_process_that_only_the_inventory_of_its_host_tells_of_is_known(pool: "Core") -> None:
    pool.take(pool.submit(strategy=POOL).one(effects.Launch).credential)
    pool.attach(inventory=[("t1", 1)])
    pool.submit("t2", strategy=POOL)
    deliver(pool, "t1")
    assert pool.stored("t2").alive[1].process.pid == 100


def test_a_task_record_says_whose_worker_it_has_and_what_that_has_delivered(pool: "Core") -> None:
    credential = begin(pool)
    pool.submit("t2", strategy=POOL)
    deliver(pool, "t1")
    assert pool.stored("t2").alive[1] == records_pb2.LiveAttempt(
        process=records_pb2.ProcessIdentity(pid=100, start_ticks=7, boot_id="b"),
        worker_task_id="t1",
        worker_attempt=1,
        delivered=records_pb2.Delivery(task_id="t1", attempt=1, digest=b"1", token_hash=hashed(credential + "-")),
    )
