"""Shows that a coordinator that starts again knows all that the last one had committed, and nothing else."""

from typing import TYPE_CHECKING

from hundredfold_coordinator import keys
from hundredfold_coordinator.core import effects, events

if TYPE_CHECKING:
    from tests.unit.core.conftest import Core


def test_queued_tasks_are_queued_in_their_order(core: "Core") -> None:
    for task_id in ("t3", "t1", "t2"):
        core.submit(task_id)
    core.restart()
    assert len(core.state.queue) == 3
    assert [launch.attempt[0] for launch in core.attach().all(effects.Launch)] == ["t1", "t2", "t3"]


def test_a_running_attempt_waits_for_its_host(house: "Core") -> None:
    attempt = house.run("t1")
    house.restart()
    assert house.state.alive == {attempt: "host-1"}
    assert len(house.state.queue) == 0
    assert house.attach(inventory=[attempt]).effects == []
    assert house.complete(attempt).reply is None


def test_a_running_agent_can_speak_before_its_host_is_back(house: "Core") -> None:
    attempt = house.run("t1")
    credential = house.minted[-1]
    house.restart()
    assert house.take(credential).reply.task.id == "t1", "it may not have heard the first answer"
    assert house.state.tokens[house.stored("t1").token_hash] == attempt
    house.emit(attempt, 1)
    assert house.complete(attempt).reply is None


def test_a_launch_that_was_committed_but_never_sent_is_repeated(house: "Core") -> None:
    house.submit("t1")
    house.restart()
    assert house.attach().one(effects.Launch).attempt == ("t1", 2)


def test_a_worker_that_was_launched_can_take_its_attempt(house: "Core") -> None:
    credential = house.submit("t1").one(effects.Launch).credential
    house.restart()
    assert house.take(credential).reply.task.id == "t1"
    assert house.states("t1")[-1] == "RUNNING"


def test_what_ran_on_a_host_that_is_dead_is_buried_and_queued_again(house: "Core") -> None:
    house.run("t1")
    house.launched("t1", pid=55)
    house.restart()
    told = house.tell(events.HostLost, host="host-1")
    assert told.one(effects.Bury).process.pid == 55
    assert house.attach("host-2").one(effects.Launch).attempt == ("t1", 2)


def test_a_task_that_has_ended_waits_for_its_receipt(house: "Core") -> None:
    house.complete(house.run("t1"))
    house.restart()
    assert house.state.alive == {("t1", 1): "host-1"}
    house.exited("t1", samples=2)
    assert house.stored("t1").task.attempts[0].receipt.samples == 2
    assert not house.has(keys.live("t1"))
    assert house.state.tasks == {}


def test_a_running_task_keeps_its_session(house: "Core") -> None:
    house.limit(concurrency=10)
    attempt = house.run("t5", session="s")
    house.submit("t1", session="s")
    house.restart()
    assert house.attach(inventory=[attempt]).all(effects.Launch) == []
    assert house.complete(attempt).one(effects.Launch).attempt == ("t1", 1)


def test_a_task_that_has_ended_does_not_hold_its_session(house: "Core") -> None:
    attempt = house.run("t1", session="s")
    house.complete(attempt)
    house.restart()
    house.attach(inventory=[attempt])
    assert house.submit("t2", session="s").one(effects.Launch).attempt == ("t2", 1)


def test_what_is_alive_counts(house: "Core") -> None:
    house.limit(concurrency=1)
    attempt = house.run("t1")
    house.submit("t2")
    house.restart()
    assert house.attach(inventory=[attempt]).all(effects.Launch) == []


def test_what_has_ended_is_not_looked_at(house: "Core") -> None:
    house.complete(house.run("t1"))
    house.exited("t1")
    house.submit("t2")
    house.cancel("t2")
    house.exited("t2")
    house.restart()
    assert house.state.tasks == {}


def test_recovering_writes_nothing_and_can_be_repeated(house: "Core") -> None:
    house.run("t1")
    house.submit("t2", environment="other")
    written = len(house.written)
    for _ in range(3):
        house.restart()
    assert len(house.written) == written
    assert set(house.state.tasks) == {"t1", "t2"}


def test_a_recovered_coordinator_is_not_stopping(house: "Core") -> None:
    house.tell(events.DrainBegan, reply=None)
    house.restart()
    house.attach()
    assert house.submit("t1").one(effects.Launch)
