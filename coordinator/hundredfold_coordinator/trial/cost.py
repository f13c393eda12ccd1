"""What an agent costs, and how many of them that lets a machine hold: straight lines through what was measured. Pure.

That costs grow in a straight line was seen where it was measured; far beyond that it is a guess, and is said to be one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

_EVEN: Final = 2
"""From so many points on there is a line."""


@dataclass(frozen=True, slots=True)
class Line:
    """`base + each * count`: what there is without any, and what each adds."""

    base: float
    each: float

    def at(self, count: float) -> float:
        """Return how much it is with so many."""
        return self.base + self.each * count


class Ceiling(NamedTuple):
    """Something of which there is only so much.

    Attributes:
        kind: what it is: `memory`, `cpu`, `descriptors` or `processes`.
        of: whose: two processes may each have one of the same kind.
        most: how much may be used by the coordinator's processes and all agents, as the line counts it.
        line: how much they use.

    """

    kind: str
    of: str
    most: float
    line: Line

    @property
    def agents(self) -> int | None:
        """How many agents that lets be; None if an agent does not use any of it."""
        return max(0, int((self.most - self.line.base) / self.line.each)) if self.line.each > 0 else None


def fit(points: Iterable[tuple[float, float]]) -> Line | None:
    """Return the line with the least squares of what is between it and the points; None if they are at one place."""
    listed = list(points)
    if len({x for x, _ in listed}) < _EVEN:
        return None
    middle_x = sum(x for x, _ in listed) / len(listed)
    middle_y = sum(y for _, y in listed) / len(listed)
    spread = sum((x - middle_x) ** 2 for x, _ in listed)
    each = sum((x - middle_x) * (y - middle_y) for x, y in listed) / spread
    return Line(middle_y - each * middle_x, each)


def tightest(ceilings: Iterable[Ceiling]) -> dict[str, Ceiling]:
    """Return of each kind the ceiling that lets the fewest agents be; those that let be any number are left out."""
    found: dict[str, Ceiling] = {}
    for ceiling in ceilings:
        if ceiling.agents is not None and (
            ceiling.kind not in found or ceiling.agents < (found[ceiling.kind].agents or 0)
        ):
            found[ceiling.kind] = ceiling
    return found


def first_met(ceilings: Mapping[str, Ceiling]) -> Ceiling | None:
    """Return the one that is met first; None if there is none."""
    return min(ceilings.values(), key=lambda one: one.agents or 0, default=None)
