"""Shows what becomes of a task whose session another one has."""

from typing import TYPE_CHECKING

import pytest
from hundredfold.errors import SessionBusy
from hundredfold.v1 import payload_pb2, task_pb2
from hundredfold_coordinator import keys
from hundredfold_coordinator.core import effects, events, scheduler

if TYPE_CHECKING:
    from tests.unit.core.conftest import Core, Told

REJECT, CONCURRENT = task_pb2.SESSION_POLICY_REJECT, task_pb2.SESSION_POLICY_CONCURRENT
INTERRUPT, ROLLBACK = task_pb2.SESSION_POLICY_INTERRUPT, task_pb2.SESSION_POLICY_ROLLBACK
CANCELLED, QUEUED = task_pb2.TASK_STATE_CANCELLED, task_pb2.TASK_STATE_QUEUED


def starts(told: "Told") -> list[str]:
    return [launch.attempt[0] for launch in told.all(effects.Launch)]


def save(core: "Core", task_id: str) -> None:
    checkpoint = payload_pb2.Payload(data=b"1")
    core.tell(events.CheckpointSaved, attempt=(task_id, 1), checkpoint=checkpoint, reply="w")


@pytest.mark.parametrize("policy", [task_pb2.SESSION_POLICY_UNSPECIFIED, task_pb2.SESSION_POLICY_ENQUEUE])
def test_it_waits(house: "Core", policy: task_pb2.SessionPolicy.ValueType) -> None:
    attempt = house.run("t1", session="s")
    assert starts(house.submit("t2", session="s", session_policy=policy)) == []
    assert starts(house.complete(attempt)) == ["t2"]


def test_it_is_refused_and_told_by_whom(house: "Core") -> None:
    house.run("t1", session="s")
    error = house.submit("t2", session="s", session_policy=REJECT).error
    assert isinstance(error, SessionBusy)
    assert error.figures() == {"session": "s", "task_id": "t1"}
    assert not house.has(keys.task("t2"))


def test_it_is_not_refused_when_nobody_is_there(house: "Core") -> None:
    house.complete(house.run("t1", session="s"))
    assert starts(house.submit("t2", session="s", session_policy=REJECT)) == ["t2"]


@pytest.mark.parametrize("policy", [INTERRUPT, ROLLBACK])
def test_those_before_it_are_cancelled(house: "Core", policy: task_pb2.SessionPolicy.ValueType) -> None:
    house.run("t1", session="s")
    house.submit("t2", session="s")
    told = house.submit("t3", session="s", session_policy=policy)
    assert told.one(effects.Kill).attempt == ("t1", 1)
    assert house.stored("t2").task.state == CANCELLED
    assert house.stored("t2").task.failure.message == "task t3 has taken its session"
    assert house.stored("t3").task.state == QUEUED, "until the process of the first is gone"
    assert starts(house.exited("t1", signal=15)) == ["t3"]
    assert house.stored("t1").task.state == CANCELLED


@pytest.mark.parametrize(("policy", "kept"), [(INTERRUPT, True), (ROLLBACK, False)])
def test_what_they_have_saved_stays_or_goes(
    house: "Core", policy: task_pb2.SessionPolicy.ValueType, *, kept: bool
) -> None:
    house.run("t1", session="s")
    save(house, "t1")
    house.submit("t2", session="s", session_policy=policy)
    assert house.has(keys.checkpoint_of("t1")) == kept
    save(house, "t1")  # it does not know yet
    house.exited("t1", signal=15)
    assert house.has(keys.checkpoint_of("t1")) == kept


def test_who_was_interrupted_can_still_be_rolled_back(house: "Core") -> None:
    house.run("t1", session="s")
    house.submit("t2", session="s", session_policy=INTERRUPT)
    house.submit("t3", session="s", session_policy=ROLLBACK)
    save(house, "t1")
    house.restart()
    house.attach(inventory=[("t1", 1)])
    house.exited("t1", signal=15)
    assert not house.has(keys.checkpoint_of("t1"))


def test_who_was_rolled_back_and_is_tried_again_keeps_what_it_saves_then(house: "Core") -> None:
    house.run("t1", session="s")
    house.submit("t2", session="s", session_policy=ROLLBACK)
    house.exited("t1", signal=15)
    house.take(house.minted[-1])
    house.complete(("t2", 1))
    told = house.tell(events.RetryRequested, task_id="t1", stored=house.stored("t1"), reply="client")
    house.take(told.one(effects.Launch).credential)
    house.tell(events.CheckpointSaved, attempt=("t1", 2), checkpoint=payload_pb2.Payload(data=b"2"), reply="w")
    house.fail(("t1", 2))
    assert house.stored("t1").task.state == task_pb2.TASK_STATE_FAILED
    assert house.has(keys.checkpoint_of("t1"))


def test_it_runs_beside_them(house: "Core") -> None:
    house.run("t1", session="s")
    assert starts(house.submit("t2", session="s", session_policy=CONCURRENT)) == ["t2"]
    house.submit("t3", session="s")
    assert house.stored("t3").task.state == QUEUED
    house.exited("t2", exit_code=1)
    assert house.stored("t3").task.state == QUEUED, "it waits for the one that has the session"


def test_without_a_session_it_means_nothing(house: "Core") -> None:
    house.run("t1")
    assert starts(house.submit("t2", session_policy=INTERRUPT)) == ["t2"]
    assert starts(house.submit("t3", session_policy=REJECT)) == ["t3"]


def crash(core: "Core", task_id: str) -> None:
    """Let an attempt crash whose task waits a while before the next one."""
    core.exited(task_id, exit_code=1)
    assert core.stored(task_id).task.HasField("next_attempt_time")


def test_who_runs_beside_the_others_never_takes_their_session(house: "Core") -> None:
    first = house.run("t1", session="s")
    house.run("t2", session="s", session_policy=CONCURRENT)
    house.submit("t3", session="s")
    crash(house, "t2")
    assert house.state.queue.holder("s") == "t1"
    assert starts(house.cancel("t2")) == [], "the first has the session as before"
    assert starts(house.complete(first)) == ["t3"]


def test_nor_does_it_after_a_restart(house: "Core") -> None:
    house.run("t1", session="s", session_policy=CONCURRENT)
    house.restart()
    house.attach(inventory=[("t1", 1)])
    assert starts(house.submit("t2", session="s", session_policy=REJECT)) == ["t2"]


def test_it_waits_at_no_gate_of_the_session(house: "Core") -> None:
    house.limit(concurrency=1)
    house.run("t1", session="s")
    house.submit("t2", session="s", session_policy=CONCURRENT)
    assert scheduler.gate(house.state, house.state.tasks["t2"]).kind == task_pb2.GATE_KIND_CONCURRENCY
