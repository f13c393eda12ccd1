"""Shows that the pictures of a bench can be drawn, whatever was measured."""

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hundredfold_coordinator.trial import bench_charts, charts
from hundredfold_coordinator.trial.crowd import Crowd
from test_bench_report import crowd, made


def freeing(count: int) -> Crowd:
    """Return agents while which others freed memory, so that there was more of it than before."""
    found = crowd(count)
    return replace(found, plateau=replace(found.plateau, memory_bytes=-1_000_000))


@pytest.mark.parametrize(
    "crowds",
    [[crowd(1), crowd(10)], [freeing(1)], [freeing(1), crowd(10)]],
    ids=["usual", "less memory", "less, then more"],
)
def test_every_picture_draws(crowds: list[Crowd]) -> None:
    for figure in bench_charts.draw(made(*crowds)).values():
        ET.fromstring(charts.as_svg(figure))  # noqa: S314  # it is ours
