"""How often something that keeps dying is started again.

"Restart intensity", from the supervisors of Erlang/OTP: so many restarts in such a period. Where a supervisor there
gives up, the next restart here has to wait until the period allows it.
"""

from collections import deque


class RestartBudget:
    """Allows `intensity` restarts in every `period_seconds`."""

    def __init__(self, intensity: int, period_seconds: float) -> None:
        self._period_seconds = period_seconds
        self._restarts: deque[float] = deque(maxlen=intensity)

    def delay(self, now: float) -> float:
        """Take one restart from the budget; return the seconds to wait before it, from `now` on a monotonic clock."""
        start = now
        if len(self._restarts) == self._restarts.maxlen:
            start = max(now, self._restarts[0] + self._period_seconds)
        self._restarts.append(start)
        return start - now
