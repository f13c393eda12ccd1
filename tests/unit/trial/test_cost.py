"""Straight lines through what was measured, and where they end."""

import pytest
from hundredfold_coordinator.trial.cost import Ceiling, Line, first_met, fit, tightest
from hypothesis import given
from hypothesis import strategies as st

SMALL = st.floats(-1e3, 1e3)


@given(base=SMALL, each=SMALL, counts=st.lists(st.integers(1, 5000), min_size=2, unique=True))
def test_points_on_a_line_give_that_line(base: float, each: float, counts: list[int]) -> None:
    line = fit((count, base + each * count) for count in counts)
    assert line
    assert line.at(counts[0]) == pytest.approx(base + each * counts[0], abs=1e-3)
    assert line.at(1000) == pytest.approx(base + each * 1000, abs=1)


def test_what_is_between_line_and_points_is_least() -> None:
    points = [(1.0, 1.0), (2.0, 3.0), (3.0, 2.0), (10.0, 9.0)]
    line = fit(points)
    assert line
    least = sum((line.at(x) - y) ** 2 for x, y in points)
    for base, each in ((0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01)):
        other = Line(line.base + base, line.each + each)
        assert sum((other.at(x) - y) ** 2 for x, y in points) > least


@pytest.mark.parametrize("points", [[], [(5.0, 1.0)], [(5.0, 1.0), (5.0, 2.0)]])
def test_without_two_places_there_is_no_line(points: list[tuple[float, float]]) -> None:
    assert fit(points) is None


def test_a_ceiling_lets_be_what_is_left_above_the_base() -> None:
    assert Ceiling("memory", "machine", 1000, Line(100, 3)).agents == 300
    assert Ceiling("memory", "machine", 50, Line(100, 3)).agents == 0


@pytest.mark.parametrize("each", [0, -0.5])
def test_what_agents_do_not_use_is_no_limit(each: float) -> None:
    free = Ceiling("cpu", "host", 1, Line(0.1, each))
    assert free.agents is None
    assert tightest([free]) == {}


def test_the_tightest_of_each_kind_counts_and_the_first_of_all_is_the_limit() -> None:
    memory = Ceiling("memory", "machine", 800, Line(0, 1))
    host, coordinator = (Ceiling("descriptors", of, 20_000, Line(20, each)) for of, each in (("host", 3), ("c", 1)))
    found = tightest([coordinator, host, memory])
    assert found == {"descriptors": host, "memory": memory}
    assert first_met(found) is memory
    assert first_met({}) is None
