"""What the runs of a comparison are measured by: the first result of each line, the slowest task under `fresh`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hundredfold_coordinator.trial.outcome import Run

_LATE: Final = 2
"""So many times as long as the slowest under `fresh` an innocent must take to be late: less is how machines are."""

_Name = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Yardstick:
    """See `of`.

    Attributes:
        outputs: for each line that has a result in any run, which run was the first to have one, and its digest.
        slowest_s: the longest latency of an innocent with a result under `fresh`, by repetition.

    """

    outputs: Mapping[int, tuple[_Name, str]]
    slowest_s: Mapping[int, float]

    @classmethod
    def of(cls, runs: Sequence[Run]) -> "Yardstick":
        """Return that of some runs, which are in the order in which they were made."""
        outputs: dict[int, tuple[_Name, str]] = {}
        slowest: dict[int, float] = {}
        for run in runs:
            for task in run.tasks:
                if task.digest:
                    outputs.setdefault(task.index, (_name(run), task.digest))
                if run.strategy == "fresh" and task.succeeded and not task.fault:
                    slowest[run.repeat] = max(task.latency_s, slowest.get(run.repeat, 0.0))
        return cls(outputs, slowest)

    def differing(self, run: Run) -> Iterator[bool]:
        """Yield for every result of a run that another run had before it whether it is another one."""
        for task in run.tasks:
            first, digest = self.outputs.get(task.index, (_name(run), ""))
            if task.digest and first != _name(run):
                yield task.digest != digest

    def late(self, run: Run) -> int | None:
        """Return how many innocents of a run came late with their result; None if nobody knows what that is."""
        if run.repeat not in self.slowest_s:
            return None
        limit = self.slowest_s[run.repeat] * _LATE
        return sum(task.succeeded and not task.fault and task.latency_s > limit for task in run.tasks)


def _name(run: Run) -> _Name:
    return run.strategy, run.repeat
