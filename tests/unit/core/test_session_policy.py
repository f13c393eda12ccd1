"""Shows what becomes of a task whose session another one has."""

from typing import TYPE_CHECKING

import pytest
from hundredfold.errors import SessionBusy
from hundredfold.v1 import payload_pb2, task_pb2
from hundredfold_coordinator import keys
from hundredfold_coordinator.core import effects, events

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
    save(house, "t1")  # it does not know yet
    house.exited("t1", signal=15)
    assert house.has(keys.checkpoint_of("t1")) == kept


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
