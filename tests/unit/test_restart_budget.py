"""Shows that restarts are free until there are too many, and then wait for the period to pass."""

import pytest
from hundredfold.restart_budget import RestartBudget


def test_restarts_within_the_budget_wait_for_nothing() -> None:
    budget = RestartBudget(3, 60)
    assert [budget.delay(now) for now in (0, 1, 2)] == [0, 0, 0]


def test_one_too_many_waits_until_the_first_is_a_period_ago() -> None:
    budget = RestartBudget(3, 60)
    for now in (0, 1, 2):
        budget.delay(now)
    assert budget.delay(10) == 50


def test_a_restart_that_waits_counts_from_when_it_is_made() -> None:
    budget = RestartBudget(1, 60)
    assert [budget.delay(0), budget.delay(1), budget.delay(61)] == [0, 59, 59]


def test_what_dies_seldom_never_waits() -> None:
    budget = RestartBudget(2, 60)
    assert {budget.delay(now) for now in range(0, 1000, 31)} == {0}


@pytest.mark.parametrize("intensity", [1, 2, 5])
def test_never_more_than_the_intensity_in_a_period(intensity: int) -> None:
    budget, now, starts = RestartBudget(intensity, 60), 0.0, list[float]()
    for _ in range(50):
        now += 3 + budget.delay(now)  # it lives for three seconds each time
        starts.append(now)
    assert all(later - earlier >= 60 for earlier, later in zip(starts, starts[intensity:], strict=False))
