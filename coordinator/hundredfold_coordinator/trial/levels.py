"""How many of something are measured one after the other: few at first, then more and more. Pure."""

from collections.abc import Sequence
from itertools import count, takewhile


def levels(most: int, digits: Sequence[int] = (1, 2, 5), least: int = 1) -> list[int]:
    """Return `digits` times each power of ten, from `least` to `most`, which is the last one in any case."""
    steps = (digit * 10**power for power in count() for digit in digits)
    found = [step for step in takewhile(lambda step: step < most, steps) if step >= least]
    return [*found, most]
