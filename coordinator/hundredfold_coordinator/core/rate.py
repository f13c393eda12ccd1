"""How often something happened in the last minute."""

from collections import deque
from typing import Final

_SPAN_NS: Final = 60 * 1_000_000_000
_STEP_NS: Final = 1_000_000_000


class Rate:
    """Counts, second by second, and forgets what is older than a minute."""

    def __init__(self) -> None:
        self._steps: deque[tuple[int, int]] = deque()
        self._total = 0

    def note(self, now_ns: int) -> None:
        """Note that it happened."""
        step = now_ns // _STEP_NS
        if self._steps and self._steps[-1][0] == step:
            self._steps[-1] = step, self._steps[-1][1] + 1
        else:
            self._steps.append((step, 1))
        self._total += 1
        self._forget(now_ns)

    def per_second(self, now_ns: int) -> float:
        """Return how often it happened per second, since the first time that is remembered."""
        self._forget(now_ns)
        if not self._steps:
            return 0.0
        return self._total / max(1.0, now_ns / _STEP_NS - self._steps[0][0])

    def seconds(self, now_ns: int) -> float:
        """Return how long ago the first time is that is remembered; 0 if there is none."""
        self._forget(now_ns)
        return now_ns / _STEP_NS - self._steps[0][0] if self._steps else 0.0

    def _forget(self, now_ns: int) -> None:
        oldest = (now_ns - _SPAN_NS) // _STEP_NS
        while self._steps and self._steps[0][0] < oldest:
            self._total -= self._steps.popleft()[1]
