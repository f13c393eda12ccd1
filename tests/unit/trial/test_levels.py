"""How many are measured one after the other."""

import pytest
from hundredfold_coordinator.trial.backlog import ROUNDS
from hundredfold_coordinator.trial.bench import sizes
from hundredfold_coordinator.trial.levels import levels


@pytest.mark.parametrize(
    ("most", "found"),
    [
        (1, [1]),
        (5, [1, 2, 5]),
        (7, [1, 2, 5, 7]),
        (2000, [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000]),
        (3000, [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 3000]),
    ],
)
def test_one_two_five_and_the_last(most: int, found: list[int]) -> None:
    assert levels(most) == found


def test_queued_tasks_go_by_tens() -> None:
    wanted = sizes(2, 100_000)
    assert wanted.queued == [10, 100, 1000, 10_000, 100_000]
    assert wanted.agents == [1, 2]
    assert wanted.stages == 2 + 5 + ROUNDS
