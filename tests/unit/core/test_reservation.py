"""Shows how much memory is set aside for an attempt, and what is learned from those that have ended."""

from typing import TYPE_CHECKING

import pytest
from figures import HOST, MIB, SECOND, limit, measure, teach, wanted
from hundredfold.v1 import attempt_pb2, policy_pb2, task_pb2
from hundredfold_coordinator.core import effects
from hundredfold_coordinator.core.reservation import DEFAULT_BYTES

if TYPE_CHECKING:
    from tests.unit.core.conftest import Core


@pytest.fixture
def house(house: "Core") -> "Core":
    """A house that looks at memory."""
    limit(house)
    return house


def test_of_what_nobody_knows_something_is_guessed(house: "Core") -> None:
    assert wanted(house) == (DEFAULT_BYTES // MIB, False)


def test_what_is_declared_counts_until_enough_is_known(house: "Core") -> None:
    assert wanted(house, memory=500) == (500, True)
    teach(house, 200, 200, 200, 200)
    assert wanted(house, memory=500) == (500, True)
    teach(house, 200)
    size, known = wanted(house, memory=500)
    assert (size, known) == (pytest.approx(200, rel=0.02), True)


def test_a_few_runs_are_better_than_a_guess(house: "Core") -> None:
    teach(house, 300)
    assert wanted(house) == (pytest.approx(375, rel=0.03), False)


def test_what_runs_teaches_before_it_has_ended(house: "Core") -> None:
    house.run("t1")
    measure(house, 500, {"t1": 200})
    assert wanted(house)[0] == 64, "it has only begun"
    house.now_ns += SECOND
    measure(house, 500, {"t1": 200})
    assert wanted(house) == (250, False)


def test_the_second_run_uses_what_the_first_one_taught(house: "Core") -> None:
    measure(house, 900)
    first = house.submit("t0").one(effects.Launch).reservation_bytes
    house.exited("t0")
    teach(house, *[150] * 20)
    told = house.submit("t1").one(effects.Launch)
    assert (first, told.reservation_bytes) == (DEFAULT_BYTES, pytest.approx(150 * MIB, rel=0.02))
    assert house.stored("t1").task.attempts[0].reservation_bytes == told.reservation_bytes


def test_what_was_learned_is_there_after_a_restart(house: "Core") -> None:
    teach(house, *[150] * 6)
    learned = house.state.footprints["b"]
    assert house.stored_footprint("b") == learned


@pytest.mark.parametrize("cause", [attempt_pb2.KILL_CAUSE_EVICTED, attempt_pb2.KILL_CAUSE_MEMORY_LIMIT])
def test_who_was_ended_for_its_memory_gets_more_the_next_time(house: "Core", cause: int) -> None:
    house.run("t1")
    house.exited("t1", kill_cause=cause, signal=9, peak_pss_bytes=100 * MIB)
    if house.state.tasks["t1"].task.state == task_pb2.TASK_STATE_QUEUED:
        house.mature("t1")
    assert house.stored("t1").task.attempts[1].reservation_bytes == 150 * MIB


@pytest.mark.parametrize(("peak", "company", "again"), [(800, False, False), (800, True, True), (700, False, True)])
def test_who_had_it_all_and_wanted_more_is_not_tried_again(
    house: "Core", peak: int, *, company: bool, again: bool
) -> None:
    measure(house, 900)
    house.run("t1")
    if company:
        house.run("t2")
    house.exited("t1", kill_cause=attempt_pb2.KILL_CAUSE_EVICTED, signal=9, peak_pss_bytes=peak * MIB)
    task = house.stored("t1").task
    assert (task.dead_letter_cause == task_pb2.DEAD_LETTER_CAUSE_UNSPECIFIED) == again


def test_nobody_gets_more_than_its_limit(house: "Core") -> None:
    assert wanted(house, memory=100, floor=400) == (100, True)


def test_one_that_failed_teaches_nothing(house: "Core") -> None:
    house.run("t1")
    house.exited("t1", exit_code=1, peak_pss_bytes=900 * MIB)
    assert wanted(house)[0] == 64


# Figures of the table -------------------------------------------------------------------------------------------------


def test_what_is_known_is_what_95_of_100_stay_below(house: "Core") -> None:
    teach(house, *[500] * 12, *[100] * 12)
    assert wanted(house)[0] == pytest.approx(500, rel=0.03), "half of them needed it"


def test_one_run_in_many_is_not_made_room_for(house: "Core") -> None:
    teach(house, 500, *[100] * 39)
    assert wanted(house)[0] == pytest.approx(100, rel=0.03)


def test_a_few_small_runs_are_no_promise(house: "Core") -> None:
    teach(house, 1)
    assert wanted(house) == (16, False)


def test_what_was_seen_of_one_that_runs_is_its_highest(house: "Core") -> None:
    house.run("t1")
    house.now_ns += SECOND
    measure(house, 500, {"t1": 200})
    measure(house, 500, {"t1": 100})
    assert wanted(house)[0] == 250


@pytest.mark.parametrize("cause", [attempt_pb2.KILL_CAUSE_EVICTED, attempt_pb2.KILL_CAUSE_MEMORY_LIMIT])
def test_one_that_was_ended_for_its_memory_teaches_what_others_need(house: "Core", cause: int) -> None:
    for task_id, peak in (("t1", 200), ("t2", 100)):
        house.run(task_id, retry=policy_pb2.RetryPolicy(max_attempts=1))
        house.exited(task_id, kill_cause=cause, signal=9, peak_pss_bytes=peak * MIB)
    assert wanted(house) == (250, False)


def test_who_was_evicted_before_it_used_much_gets_more_than_it_had(house: "Core") -> None:
    house.run("t1")
    house.exited("t1", kill_cause=attempt_pb2.KILL_CAUSE_EVICTED, signal=9, peak_pss_bytes=10 * MIB)
    assert house.stored("t1").task.attempts[1].reservation_bytes == 96 * MIB


def test_where_nobody_has_looked_the_kernels_count_teaches(house: "Core") -> None:
    for number in range(5):
        house.complete(house.run(f"t{number}"))
        house.exited(f"t{number}", max_private_bytes=40 * MIB)
    assert wanted(house) == (pytest.approx(40, abs=1), True)


def test_of_many_runs_not_every_one_is_written(house: "Core") -> None:
    teach(house, *[10] * 45)
    stored = house.stored_footprint("b")
    assert stored
    assert stored.wall_seconds.count == 40


def test_a_reservation_is_kept_for_as_long_as_runs_take(house: "Core") -> None:
    house.submit("t0")
    assert house.state.hosts[HOST].loads["t0", 1].lasts_seconds == 2, "nobody knows"
    teach(house, *[10] * 5, wall=10)
    house.submit("t1")
    assert house.state.hosts[HOST].loads["t1", 1].lasts_seconds == pytest.approx(10, rel=0.03)
