"""Shows what goes with a long-lived agent: all that waited for it, wherever and however many, and nothing else."""

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from figures import SECOND, gate
from hundredfold.v1 import policy_pb2, task_pb2
from hundredfold_coordinator import keys
from hundredfold_coordinator.core import dropping, effects, events, lifecycle
from residents import KILLED, SEQUENTIAL, STATEFUL, begin, given

if TYPE_CHECKING:
    from tests.unit.core.conftest import Core, Told

DROPPED = task_pb2.DEAD_LETTER_CAUSE_DROPPED
NAMES = [f"q{number:04}" for number in range(1, 8)]


@pytest.fixture
def house(house: "Core", monkeypatch: pytest.MonkeyPatch) -> "Core":
    """A house with one agent of a kind; three are dropped at once."""
    house.limit(pool_size=1)
    monkeypatch.setattr(dropping, "PAGE", 3)
    return house


def dies(house: "Core") -> "Told":
    """Let an agent die for which seven wait."""
    begin(house, "t1", SEQUENTIAL)
    for name in NAMES:
        house.submit(name, strategy=SEQUENTIAL)
    return house.exited("t1", **KILLED)


def go_on(house: "Core", told: "Told") -> "Told":
    """Let the time come for the next page."""
    return house.tell(lambda **_: told.one(effects.Remind).event)


def dropped(house: "Core", names: list[str]) -> list[str]:
    return [name for name in names if house.stored(name).task.dead_letter_cause == DROPPED]


def test_whoever_waits_for_its_time_or_its_session_goes_too(house: "Core") -> None:
    begin(house, "t1", STATEFUL, session="s", retry=policy_pb2.RetryPolicy(max_attempts=3))
    house.submit("behind", strategy=STATEFUL, session="s")
    house.submit("next", strategy=STATEFUL)
    assert given(house.fail(house.newest("t1")[0], wants_next=True)) == "next"
    assert house.stored("t1").task.HasField("next_attempt_time")
    told = house.exited("next", attempt=("t1", 1), **KILLED)
    assert dropped(house, ["t1", "behind", "next"]) == ["t1", "behind"]
    assert house.stored("next").task.state == lifecycle.FAILED
    assert told.all(effects.Launch) == []
    assert (len(house.state.queue), house.state.tasks) == (0, {})
    assert house.submit("t9", strategy=STATEFUL, session="s").one(effects.Launch)


def test_whoever_is_to_begin_later_goes_too(house: "Core") -> None:
    begin(house, "t1", STATEFUL)
    later = task_pb2.TaskSpec().not_before
    later.FromNanoseconds(house.now_ns + 60 * SECOND)
    house.submit("later", strategy=STATEFUL, not_before=later)
    house.submit("other", strategy=SEQUENTIAL, not_before=later)
    house.exited("t1", **KILLED)
    assert dropped(house, ["later", "other"]) == ["later"]
    assert house.mature("later").effects == []


def test_many_end_page_by_page_and_nobody_takes_them_meanwhile(house: "Core") -> None:
    told = dies(house)
    left = []
    for count in (3, 6, 7):
        assert len(dropped(house, NAMES)) == count
        assert told.all(effects.Launch) == []
        assert house.has(keys.drop("t1")) == (count < 7)
        left.append(len(told.batch.writes))
        told = go_on(house, told) if count < 7 else told
    assert max(left) < 20
    assert told.all(effects.Remind) == []
    assert house.submit("t9", strategy=SEQUENTIAL).one(effects.Launch)


def test_whoever_comes_meanwhile_waits_for_the_next_agent(house: "Core") -> None:
    told = dies(house)
    assert house.submit("r1", strategy=SEQUENTIAL).all(effects.Launch) == []
    assert gate(house, "r1") == ("POOL", "agent 0 is gone, and those that waited for it are being dropped")
    again = house.tell(events.RetryRequested, task_id=NAMES[0], stored=house.stored(NAMES[0]), reply="client")
    assert again.all(effects.Launch) == []
    assert house.submit("other", strategy=STATEFUL).one(effects.Launch), "agents of other kinds go on"
    told = go_on(house, go_on(house, told))
    assert dropped(house, [*NAMES, "r1"]) == NAMES[1:]
    assert told.one(effects.Launch).attempt == (NAMES[0], 1), "it was submitted first"


def test_whoever_is_cancelled_or_whose_time_comes_meanwhile_stays_what_it_is(house: "Core") -> None:
    begin(house, "t1", SEQUENTIAL)
    soon = task_pb2.TaskSpec().not_before
    soon.FromNanoseconds(house.now_ns + SECOND)
    for name in NAMES:
        house.submit(name, strategy=SEQUENTIAL, not_before=soon)
    told = house.exited("t1", **KILLED)
    house.cancel(NAMES[6])
    house.now_ns += 2 * SECOND
    house.mature(NAMES[5])
    (event,) = [one.event for one in told.all(effects.Remind) if isinstance(one.event, events.DropContinued)]
    told = house.tell(lambda **_: event)
    assert dropped(house, NAMES) == NAMES[:6]
    assert house.stored(NAMES[6]).task.state == lifecycle.CANCELLED
    assert [one for one in told.all(effects.Remind) if isinstance(one.event, events.DropContinued)] == []


def test_the_next_coordinator_goes_on_with_it(house: "Core") -> None:
    dies(house)
    told = house.restart()
    assert house.attach().all(effects.Launch) == []
    told = go_on(house, told)
    told = go_on(house, told)
    assert dropped(house, NAMES) == NAMES
    messages = Counter(house.stored(name).task.failure.message for name in NAMES)
    assert len(messages) == 1
    assert "agent 0, process 100" in next(iter(messages))
    assert not house.has(keys.drop("t1"))
    assert told.all(effects.Remind) == []
    assert house.submit("t9", strategy=SEQUENTIAL).one(effects.Launch)


def test_what_is_dropped_with_a_lost_host_is_so_page_by_page_too(house: "Core") -> None:
    begin(house, "t1", STATEFUL)
    for name in NAMES:
        house.submit(name, strategy=STATEFUL)
    told = house.tell(events.HostLost, host="host-1")
    assert dropped(house, NAMES) == NAMES[:3]
    house.bury(("t1", 1))
    assert house.attach("host-2").all(effects.Launch) == []
    go_on(house, go_on(house, told))
    assert dropped(house, NAMES) == NAMES


def test_a_page_ends_in_one_decision_without_a_record(house: "Core") -> None:
    begin(house, "t1", STATEFUL)
    for name in NAMES[:3]:
        house.submit(name, strategy=STATEFUL)
    told = house.exited("t1", **KILLED)
    assert dropped(house, NAMES[:3]) == NAMES[:3]
    assert told.all(effects.Remind) == []
    assert keys.drop("t1") not in told.writes
