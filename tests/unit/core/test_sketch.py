"""Shows that quantiles come out of a sketch as they went in, and that what changes is learned again."""

import random
from collections.abc import Callable

import pytest
from hundredfold.internal.v1 import records_pb2
from hundredfold_coordinator.core import sketch
from hundredfold_coordinator.core.sketch import ACCURACY

RUNS = 200
MIB = 1 << 20


def of(*values: float) -> records_pb2.Sketch:
    made = records_pb2.Sketch()
    for value in values:
        sketch.add(made, value)
    return made


def test_nothing_has_no_quantile() -> None:
    assert sketch.quantile(records_pb2.Sketch(), 0.95) == 0


@pytest.mark.parametrize("value", [1e-9, 0.003, 1, 7, 1e12])
def test_one_figure_is_every_quantile(value: float) -> None:
    for share in (0.01, 0.5, 0.95, 1):
        assert sketch.quantile(of(value), share) == pytest.approx(value, rel=1.01 * ACCURACY)


def test_zero_is_the_smallest_figure() -> None:
    assert sketch.quantile(of(0, 0, 5), 0.5) < 1e-8


def test_quantiles_are_those_of_the_figures() -> None:
    made = of(*[float(number) for number in range(1, 101)])
    assert made.count == 100
    # Later figures weigh more: these go up, so all quantiles lie a little higher than with equal weights.
    assert 50 <= sketch.quantile(made, 0.5) <= 65
    assert 95 <= sketch.quantile(made, 0.95) <= 100


def test_what_changes_is_learned_again() -> None:
    made = of(*[100.0] * 1000)
    for _ in range(200):
        sketch.add(made, 10)
    assert sketch.quantile(made, 0.5) == pytest.approx(10, rel=ACCURACY)


def test_it_stays_small_and_right_for_ever() -> None:
    chance = random.Random(1)
    made = of(*[chance.uniform(90, 110) for _ in range(20_000)])
    assert made.count == 20_000
    assert made.weight < 1e13
    assert len(made.buckets) < 20
    assert sketch.quantile(made, 0.5) == pytest.approx(100, rel=0.05)


DISTRIBUTIONS: dict[str, tuple[Callable[[random.Random], float], float]] = {
    # What to draw from, and the true 95th percentile.
    "constant": (lambda _: 300, 300),
    "uniform": (lambda chance: chance.uniform(100, 500), 480),
    "normal": (lambda chance: max(1, chance.gauss(400, 60)), 400 + 1.6449 * 60),
    "exponential": (lambda chance: 50 + chance.expovariate(1 / 80), 50 + 80 * 2.9957),
    "lognormal": (lambda chance: chance.lognormvariate(5, 0.4), 148.41 * 1.9308),
    "two kinds": (lambda chance: chance.gauss(900, 30) if chance.random() < 0.2 else chance.gauss(100, 10), 920.2),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("seed", range(20))
def test_what_is_learned_from_200_runs_is_near_the_truth(name: str, seed: int) -> None:
    draw, truth = DISTRIBUTIONS[name]
    chance = random.Random(seed)
    made = of(*[draw(chance) * MIB for _ in range(RUNS)])
    assert sketch.quantile(made, 0.95) == pytest.approx(truth * MIB, rel=0.2)
