"""The heartbeat: what shows the others that whoever has the lease of a shared store lives.

It has a line of its own to the store, because a call on another one can take longer than a term: one that makes an
index of all vectors, or one that a slow server does not answer. It is no more than a sign: what decides is the lease.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from hundredfold.errors import HundredfoldError, StoreFull, StoreUnreachable
from hundredfold.stores.contract import Batch, Guard, Store, Write

from hundredfold_coordinator import keys
from hundredfold_coordinator.outage import Outage
from hundredfold_coordinator.storage import Storage

_PER_TERM: Final = 3
_TRIES_PER_TERM: Final = 10


class Heartbeat:
    """Writes a key several times a term, from `begin` to `end`.

    Args:
        term_seconds: of the lease.
        patience_seconds: how long the server may be away when it is opened; 0 for ever.
        on_silence: told what is wrong when a beat was not answered; it is tried again all the same.
        on_failure: told, in a thread, that the store has failed, or that somebody else has the lease.

    """

    def __init__(
        self,
        term_seconds: float,
        patience_seconds: float,
        on_silence: Callable[[StoreUnreachable], None],
        on_failure: Callable[[HundredfoldError], None],
    ) -> None:
        self._term_seconds = term_seconds
        self._on_silence = on_silence
        outage = Outage(patience_seconds)
        outage.give_up()  # no beat waits for the server: the next one is another try
        self._storage = Storage(None, outage, on_failure)
        self._beating: asyncio.Future[None] | None = None

    async def open(self, opener: Callable[[], Store]) -> None:
        """Open the store once more. Before the lease is taken: nothing may come between that and the first beat.

        Raises:
            StoreUnavailable: it cannot be opened.

        """
        await self._storage.open(opener)

    def begin(self, guard: Guard | None) -> None:
        """Show from now on that the holder lives of the lease that `guard` names."""
        self._storage.guard = guard
        self._beating = asyncio.ensure_future(self._beat())

    async def end(self) -> None:
        """Say that nobody has the lease: whoever stands by need not wait for a term, unless that cannot be said."""
        await self._stop()
        with contextlib.suppress(StoreUnreachable, StoreFull):
            await self._storage.commit([Batch([Write(keys.HEARTBEAT, None)])])

    async def close(self) -> None:
        """Stop, and give the line back; whoever stands by takes over after a term if this was not ended before."""
        await self._stop()
        await self._storage.close()

    async def _stop(self) -> None:
        if self._beating:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)

    async def _beat(self) -> None:
        pause = self._term_seconds / _PER_TERM
        while True:
            await asyncio.sleep(pause)
            pause = self._term_seconds / _PER_TERM
            try:
                await self._storage.commit([Batch([Write(keys.HEARTBEAT, b"")])])
            except StoreUnreachable as error:
                self._on_silence(error)
                pause = self._term_seconds / _TRIES_PER_TERM
            except StoreFull:
                pass  # nobody else could take the lease either, as that is a write, too
