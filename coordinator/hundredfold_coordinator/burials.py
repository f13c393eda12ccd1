"""What dead hosts leave behind: their workers, killed by identity with all that is below them, and made sure of.

In a thread: it reads all of /proc several times, and nothing else may wait for that.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from hundredfold.identity import has_ended, kill_trees
from hundredfold.v1 import attempt_pb2

from hundredfold_coordinator.core.effects import Bury
from hundredfold_coordinator.core.events import Buried, Event

_CONFIRM_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.01


class Burials:
    """Buries what it is told to, all of one moment together; `post` takes the events that say so."""

    def __init__(self, post: Callable[[Event], None]) -> None:
        self._post = post
        self._waiting: list[Bury] = []
        self._digging: asyncio.Task[None] | None = None

    def add(self, effect: Bury) -> None:
        """Bury a worker soon; `Buried` follows."""
        self._waiting.append(effect)
        if self._digging is None:
            self._digging = asyncio.ensure_future(self._dig())

    async def _dig(self) -> None:
        await asyncio.sleep(0)  # whatever else died with the same host comes along
        try:
            while self._waiting:
                burials, self._waiting = self._waiting, []
                receipts = await asyncio.to_thread(_bury, burials)
                for burial, receipt in zip(burials, receipts, strict=True):
                    self._post(Buried(now_ns=time.time_ns(), attempt=burial.attempt, receipt=receipt))
        finally:
            self._digging = None  # or nobody would be buried any more


def _bury(burials: Sequence[Bury]) -> list[attempt_pb2.Receipt]:
    """Kill the workers and everything below them; return what each receipt can say without their host."""
    known = [burial.process for burial in burials if burial.process.pid]
    below = kill_trees(known)
    deadline = time.monotonic() + _CONFIRM_SECONDS
    while not all(map(has_ended, known)) and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
    receipts = []
    for burial in burials:
        receipt = attempt_pb2.Receipt(kill_cause=attempt_pb2.KILL_CAUSE_HOST_ENDED)
        if burial.process.pid:
            receipt.leftovers_killed = receipt.children_seen = below.get(burial.process.pid, 0)
            receipt.survivors = 0 if has_ended(burial.process) else 1
            receipt.empty_time.GetCurrentTime()
        receipts.append(receipt)
    return receipts
