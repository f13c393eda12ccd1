"""Shows what comes of a host's words: launches, exits, what it holds when it attaches, and that it is gone."""

from typing import TYPE_CHECKING, Any

import pytest
from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import attempt_pb2, coordinator_service_pb2, policy_pb2, task_pb2
from hundredfold_coordinator import keys
from hundredfold_coordinator.core import effects, events, scheduler
from hundredfold_coordinator.core.hosting import REST_SECONDS
from hundredfold_coordinator.core.retry import DEFAULT_ATTEMPTS, HOST_LOST

BLAMELESS_LIMIT = DEFAULT_ATTEMPTS[HOST_LOST]

if TYPE_CHECKING:
    from tests.unit.core.conftest import Core

HOST = "host-1"


def outcomes(core: "Core", task_id: str = "t1") -> list[str]:
    """Return how the attempts of a task ended."""
    names = [attempt_pb2.AttemptOutcome.Name(attempt.outcome) for attempt in core.stored(task_id).task.attempts]
    return [name.removeprefix("ATTEMPT_OUTCOME_") for name in names]


def alive(core: "Core") -> set[tuple[str, int]]:
    """Return what is alive, which the hosts and the whole agree on."""
    assert {key for host in core.state.hosts.values() for key in host.loads} <= set(core.state.alive)
    return set(core.state.alive)


# Launches -------------------------------------------------------------------------------------------------------------


def test_a_process_is_noted(house: "Core") -> None:
    house.submit("t1")
    told = house.launched("t1", pid=123, number=4)
    record = house.stored("t1")
    assert (record.alive[1].process.pid, record.alive[1].process.start_ticks) == (123, 7)
    assert record.task.attempts[0].pid == 123
    assert record.task.state == task_pb2.TASK_STATE_LAUNCHING
    assert told.effects == [effects.Acknowledge(HOST, 4)]


def test_a_process_is_noted_that_has_delivered_before_its_host_told_of_it(house: "Core") -> None:
    house.complete(house.run("t1"))
    told = house.launched("t1", pid=123)
    record = house.stored("t1")
    assert (record.alive[1].process.pid, record.task.attempts[0].pid) == (123, 123)
    assert told.one(effects.Kill).attempt == ("t1", 1)


def test_a_process_that_nobody_wants_is_killed(house: "Core") -> None:
    house.run("t1")
    process = records_pb2.ProcessIdentity(pid=5)
    for key in (("t1", 2), ("unknown", 1)):
        told = house.tell(events.Launched, host=HOST, number=9, attempt=key, process=process)
        assert told.effects == [effects.Kill(HOST, key, 0), effects.Acknowledge(HOST, 9)]
        assert told.writes == {}


def test_a_launch_that_failed_is_tried_again(house: "Core") -> None:
    first = house.submit("t1").one(effects.Launch)
    told = house.launch_failed("t1", "no fork")
    second = told.one(effects.Launch)
    assert (second.attempt, second.credential == first.credential) == (("t1", 2), False)
    assert told.one(effects.Acknowledge).number == 1
    assert outcomes(house) == ["LAUNCH_FAILED", "UNSPECIFIED"]
    assert [e.state_change.reason for e in house.history("t1")][2] == "no fork; tried again"
    assert alive(house) == {("t1", 2)}


def test_a_launch_that_failed_long_ago_is_only_acknowledged(house: "Core") -> None:
    house.submit("t1")
    house.launch_failed("t1")
    told = house.tell(events.LaunchFailed, host=HOST, number=7, attempt=("t1", 1), reason="told again")
    assert told.effects == [effects.Acknowledge(HOST, 7)]
    assert alive(house) == {("t1", 2)}


def test_what_cannot_be_launched_fails_in_the_end(house: "Core") -> None:
    house.submit("t1")
    for number in range(BLAMELESS_LIMIT - 1):
        told = house.launch_failed("t1")
        assert (told if number == 0 else house.mature("t1")).one(effects.Launch)
    told = house.launch_failed("t1", "no fork")
    task = told.one(effects.Announce).task
    assert (task.state, len(task.attempts)) == (task_pb2.TASK_STATE_FAILED, BLAMELESS_LIMIT)
    assert (task.failure.type, task.failure.message) == ("LaunchFailed", "no fork")
    assert task.dead_letter_cause == task_pb2.DEAD_LETTER_CAUSE_QUARANTINED
    assert not house.has(keys.live("t1"))
    assert alive(house) == set()


def test_a_launch_that_failed_for_want_of_something_costs_no_attempt(house: "Core") -> None:
    house.submit("t1")
    for _ in range(3 * BLAMELESS_LIMIT):
        told = house.tell(
            events.LaunchFailed, host=HOST, number=1, attempt=("t1", 1), reason="fork: no memory", transient=True
        )
        assert told.all(effects.Launch) == []
        rested = told.one(effects.Remind)
        assert rested.after_seconds == REST_SECONDS
        gate = scheduler.gate(house.state, house.state.tasks["t1"])
        assert (gate.kind, "fork: no memory" in gate.detail) == (task_pb2.GATE_KIND_NO_HOST, True)
        assert house.tell(events.HostRested, host=HOST).one(effects.Launch).attempt == ("t1", 1)
    assert outcomes(house) == ["UNSPECIFIED"]


def test_what_a_host_has_ended_because_it_ended_itself_is_queued_again(house: "Core") -> None:
    house.submit("t1")
    house.launched("t1")
    told = house.exited("t1", signal=15, kill_cause=attempt_pb2.KILL_CAUSE_HOST_ENDED)
    assert told.one(effects.Launch).attempt == ("t1", 2)
    assert outcomes(house) == ["HOST_LOST", "UNSPECIFIED"]


def test_a_dead_host_is_forgotten_in_the_commit_that_gives_up_what_it_ran(house: "Core") -> None:
    house.submit("t1")
    told = house.tell(events.HostLost, host=HOST)
    assert told.writes[keys.host(HOST)] is None
    assert keys.task("t1") in told.writes


# Exits ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("receipt", "outcome", "message"),
    [
        ({"exit_code": 0}, "EXITED", "the agent exited with code 0 before it delivered a result"),
        (
            {"exit_code": 3, "stderr_tail": b"x\nbad\xff\n"},
            "EXITED",
            "code 3 before it delivered a result; its last words: bad",
        ),
        ({}, "EXITED", "the agent exited with code unknown"),
        ({"signal": 11}, "SIGNALLED", "the agent was ended by SIGSEGV, which Hundredfold did not send"),
        (
            {"signal": 40, "stderr_tail": b"oh"},
            "SIGNALLED",
            "ended by 40, which Hundredfold did not send; its last words: oh",
        ),
    ],
)
@pytest.mark.parametrize("taken", [True, False])
def test_an_exit_without_a_result_is_a_failure(
    house: "Core",
    receipt: dict[str, Any],
    outcome: str,
    message: str,
    taken: bool,  # noqa: FBT001  # parametrized
) -> None:
    launch = house.submit("t1", retry=policy_pb2.RetryPolicy(max_attempts=1)).one(effects.Launch)
    if taken:
        house.take(launch.credential)
    told = house.exited("t1", max_rss_bytes=5, **receipt)
    task = told.one(effects.Announce).task
    assert task.state == task_pb2.TASK_STATE_FAILED
    assert message in task.failure.message
    assert outcomes(house) == [outcome]
    assert task.attempts[0].receipt.max_rss_bytes == 5
    assert told.one(effects.Acknowledge)
    assert not house.has(keys.live("t1"))


def test_an_exit_after_the_result_adds_the_receipt(house: "Core") -> None:
    house.complete(house.run("t1"))
    assert house.has(keys.live("t1")), "its process may be there"
    assert alive(house) == {("t1", 1)}
    told = house.exited("t1", exit_code=0, samples=3)
    assert told.all(effects.Announce) == []
    assert told.writes[keys.live("t1")] is None
    assert house.stored("t1").task.attempts[0].receipt.samples == 3
    assert house.states("t1")[-1] == "SUCCEEDED"
    assert (house.state.tasks, house.state.alive) == ({}, {})


def test_secrets_go_with_the_process(house: "Core") -> None:
    house.complete(house.run("t1"))
    assert house.stored("t1").credential_hash
    house.exited("t1")
    record = house.stored("t1")
    assert (record.credential_hash, record.token_hash) == (b"", b"")
    assert (house.state.credentials, house.state.tokens) == ({}, {})


def test_an_exit_that_is_told_again_is_only_acknowledged(house: "Core") -> None:
    house.run("t1")
    house.exited("t1")
    told = house.exited("t1")
    assert told.writes == {}
    assert told.effects == [effects.Acknowledge(HOST, 1)]


def test_an_exit_of_a_stale_attempt_touches_nothing(house: "Core") -> None:
    house.submit("t1")
    house.launch_failed("t1")
    told = house.exited("t1", attempt=("t1", 1))
    assert told.writes == {}
    assert alive(house) == {("t1", 2)}


# Attaching ------------------------------------------------------------------------------------------------------------


def test_a_host_goes_on_with_what_both_sides_know(house: "Core") -> None:
    attempt = house.run("t1")
    house.tell(events.HostDetached, host=HOST)
    told = house.attach(inventory=[attempt])
    assert told.all(effects.Kill) == []
    assert house.state.hosts[HOST].loads.keys() == {attempt}
    assert house.complete(attempt).reply is None


def test_a_host_ends_what_only_it_knows(core: "Core") -> None:
    core.submit("t1")
    told = core.attach(inventory=[("other", 1)])
    assert told.one(effects.Kill) == effects.Kill(HOST, ("other", 1), 0)
    assert told.one(effects.Launch).attempt == ("t1", 1)


def test_what_a_host_never_started_is_queued_again(house: "Core") -> None:
    house.submit("t1")
    house.tell(events.HostDetached, host=HOST)
    assert house.attach().one(effects.Launch).attempt == ("t1", 2)
    assert outcomes(house) == ["LAUNCH_FAILED", "UNSPECIFIED"]
    assert house.states("t1") == ["QUEUED", "LAUNCHING", "QUEUED", "LAUNCHING"]


def test_what_a_host_does_not_name_is_killed_in_case_it_was_just_forked(house: "Core") -> None:
    house.run("t1")
    house.launched("t1")
    told = house.attach(inventory=[])
    assert told.one(effects.Kill) == effects.Kill(HOST, ("t1", 1), 0)


def test_another_host_is_not_asked_about_it(house: "Core") -> None:
    attempt = house.run("t1")
    assert house.attach("host-2").effects == []
    assert house.state.alive == {attempt: HOST}


def test_a_kill_that_could_not_be_heard_is_sent_again(house: "Core") -> None:
    attempt = house.run("t1")
    house.tell(events.HostDetached, host=HOST)
    house.cancel("t1")
    assert house.attach(inventory=[attempt]).one(effects.Kill) == effects.Kill(HOST, attempt, 3)


def test_who_has_delivered_meanwhile_is_ended(house: "Core") -> None:
    attempt = house.run("t1")
    house.tell(events.HostDetached, host=HOST)
    house.complete(attempt)
    assert house.attach(inventory=[attempt]).one(effects.Kill).attempt == attempt


def test_who_has_delivered_and_is_gone_is_forgotten(house: "Core") -> None:
    house.complete(house.run("t1"))
    house.tell(events.HostDetached, host=HOST)
    house.attach(inventory=[])
    assert (house.state.tasks, house.has(keys.live("t1"))) == ({}, False)
    assert house.states("t1")[-1] == "SUCCEEDED"


def test_nothing_starts_on_a_host_that_cannot_be_reached(house: "Core") -> None:
    attempt = house.run("t1")
    house.tell(events.HostDetached, host=HOST)
    assert house.submit("t2").all(effects.Launch) == []
    assert alive(house) == {attempt}
    assert house.stored("t1").task.state == task_pb2.TASK_STATE_RUNNING


def test_what_an_unknown_host_says_is_let_be(core: "Core") -> None:
    core.tell(events.EnvironmentChanged, host="unknown", environment="default", ready=True)
    core.tell(events.MachineMeasured, host="unknown", machine=coordinator_service_pb2.Machine())
    core.tell(events.HostDetached, host="unknown")
    core.tell(events.HostLost, host="unknown")
    assert core.state.hosts == {}


# Losing ---------------------------------------------------------------------------------------------------------------


def test_what_a_lost_host_ran_is_buried_and_queued_again(house: "Core") -> None:
    house.run("t1")
    house.launched("t1", pid=321)
    told = house.tell(events.HostLost, host=HOST)
    assert told.one(effects.Bury).process.pid == 321
    assert outcomes(house) == ["HOST_LOST"]
    assert house.states("t1")[-1] == "QUEUED"
    assert house.attach("host-2").one(effects.Launch).attempt == ("t1", 2)


def test_what_has_no_known_process_is_not_buried(house: "Core") -> None:
    house.submit("t1")
    assert house.tell(events.HostLost, host=HOST).all(effects.Bury) == []


def test_other_hosts_keep_what_they_run(house: "Core") -> None:
    house.run("t1")
    house.attach("host-2")
    second = house.run("t2")
    house.tell(events.HostLost, host=HOST)
    assert house.complete(second).reply is None


def test_a_task_that_loses_its_host_too_often_fails(house: "Core") -> None:
    house.submit("t1")
    for number in range(BLAMELESS_LIMIT - 1):
        house.tell(events.HostLost, host=f"host-{number + 1}")
        house.attach(f"host-{number + 2}")
        house.mature("t1")
    told = house.tell(events.HostLost, host=f"host-{BLAMELESS_LIMIT}")
    assert told.one(effects.Announce).task.failure.outcome == attempt_pb2.ATTEMPT_OUTCOME_HOST_LOST
    assert house.states("t1")[-1] == "FAILED"


def test_what_has_delivered_survives_the_loss(house: "Core") -> None:
    house.complete(house.run("t1"))
    told = house.tell(events.HostLost, host=HOST)
    assert told.all(effects.Announce) == []
    assert (house.states("t1")[-1], house.has(keys.live("t1"))) == ("SUCCEEDED", False)
    assert house.state.tasks == {}


def test_a_cancelled_task_ends_with_its_host(house: "Core") -> None:
    house.run("t1")
    house.cancel("t1", "enough")
    task = house.tell(events.HostLost, host=HOST).one(effects.Announce).task
    assert task.state == task_pb2.TASK_STATE_CANCELLED


def test_a_cancelled_task_says_why_when_its_host_is_lost(house: "Core") -> None:
    house.run("t1")
    house.cancel("t1", "enough")
    failure = house.tell(events.HostLost, host=HOST).one(effects.Announce).task.failure
    assert (failure.type, failure.message) == ("Cancelled", "enough")


def test_a_worker_that_only_told_itself_who_it_is_is_buried_with_its_host(house: "Core") -> None:
    credential = house.submit("t1").one(effects.Launch).credential
    house.take(credential, pid=77)
    told = house.tell(events.HostLost, host="host-1")
    assert told.one(effects.Bury).process.pid == 77
