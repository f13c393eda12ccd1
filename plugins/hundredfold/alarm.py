"""An alarm: a timer that does not take the sleep of its own process for somebody else's delay.

A process that was stopped, or whose machine was, finds everything overdue when it goes on: what it is about to call
late may have happened long ago, and waits to be read. So an alarm that comes late gives that a little time first.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

LATE_SECONDS: Final = 1.0
"""How far behind a loop may be without having been stopped."""

RESPITE_SECONDS: Final = 2.0
"""How long an alarm waits that came later than that."""


class Loop(Protocol):
    """What an alarm needs of an event loop."""

    def time(self) -> float:
        """Return the loop's own time, in seconds."""

    def call_later(self, delay: float, callback: Callable[[], object], /) -> asyncio.TimerHandle:
        """Call back after so many seconds."""


class Alarm:
    """Calls `callback` once, after `seconds`; see the module for what happens when the loop comes late.

    Attributes:
        due: when it is to ring, in the loop's time.

    """

    def __init__(self, loop: Loop, seconds: float, callback: Callable[[], object]) -> None:
        self._loop = loop
        self._callback = callback
        self._arm(seconds)

    def cancel(self) -> None:
        """Never ring. Idempotent, and without effect after it has rung."""
        self._handle.cancel()

    def _arm(self, seconds: float) -> None:
        self.due = self._loop.time() + seconds
        self._handle = self._loop.call_later(seconds, self._ring)

    def _ring(self) -> None:
        if self._loop.time() - self.due > LATE_SECONDS:
            self._arm(RESPITE_SECONDS)
        else:
            self._callback()
