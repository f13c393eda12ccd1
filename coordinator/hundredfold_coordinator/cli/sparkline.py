"""A line of figures as a picture one line high."""

from collections.abc import Sequence
from typing import Final

_BARS: Final = "▁▂▃▄▅▆▇█"


def sparkline(figures: Sequence[float], most: float) -> str:
    """Return a bar for each figure, as high as its share of `most`."""
    top = len(_BARS) - 1
    return "".join(_BARS[min(top, max(0, round(figure / most * top)))] if most else _BARS[0] for figure in figures)
