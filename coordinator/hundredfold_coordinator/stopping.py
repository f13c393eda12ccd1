"""Who may end a coordinator, and how: signals, its owner, a client's word."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hundredfold_coordinator.config import DONE, Config

END_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_log: Final = logging.getLogger(__name__)
_POLL_SECONDS: Final = 0.02
_IDLE_POLLS: Final = 10


@dataclass(frozen=True, slots=True)
class DrainOrder:
    """How the coordinator is to stop: times in seconds."""

    drain_seconds: float
    grace_seconds: float
    keep_agents: bool = False


class Stopping:
    """Listens for the order to stop; `count_running` and `count_tasks` say what there is.

    Attributes:
        order: the last one; None before the first.

    """

    def __init__(self, config: Config, count_running: Callable[[], int], count_tasks: Callable[[], int]) -> None:
        self._config = config
        self._count_running = count_running
        self._count_tasks = count_tasks
        self._ordered = asyncio.Event()
        self.order: DrainOrder | None = None

    def stop(self, order: DrainOrder) -> None:
        """Begin to stop. A second call can change how."""
        if not self._ordered.is_set():
            _log.info("stopping; %d task(s) run, for at most %g s more", self._count_running(), order.drain_seconds)
        self.order = order
        self._ordered.set()

    async def wait(self) -> None:
        """Wait for the first order."""
        await self._ordered.wait()

    def listen(self) -> None:
        """Take orders from signals, and from the owner if there is one."""
        loop = asyncio.get_running_loop()
        order = DrainOrder(self._config.drain_seconds, self._config.grace_seconds)
        for number in END_SIGNALS:
            loop.add_signal_handler(number, self._stop_or_hurry, order)
        if self._config.owner_fd >= 0:
            loop.add_reader(self._config.owner_fd, self._owner_gone)

    def _stop_or_hurry(self, order: DrainOrder) -> None:
        """Stop on the first signal; on a second one, without waiting for what runs."""
        self.stop(DrainOrder(0, order.grace_seconds) if self._ordered.is_set() else order)

    def _owner_gone(self) -> None:
        asyncio.get_running_loop().remove_reader(self._config.owner_fd)
        if os.read(self._config.owner_fd, 1) == DONE:
            self._leaving = asyncio.ensure_future(self._stop_when_idle())
        else:
            self.stop(DrainOrder(0, self._config.grace_seconds))

    async def _stop_when_idle(self) -> None:
        """Stop when there has been no task for a moment: who submits one after the other has none in between."""
        idle = 0
        while idle < _IDLE_POLLS:
            idle = 0 if self._count_tasks() else idle + 1
            await asyncio.sleep(_POLL_SECONDS)
        self.stop(DrainOrder(0, self._config.grace_seconds))
