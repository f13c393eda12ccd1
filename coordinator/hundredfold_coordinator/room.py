"""Room for what has been decided: what to do when the store is full, and when it is over.

Nothing that was decided may be dropped, so a commit that finds no room waits for it. The ballast is given up first;
from then on nothing new is to be accepted until it could be made again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

from hundredfold.errors import StoreFull

from hundredfold_coordinator.ballast import Ballast

_T = TypeVar("_T")
_log: Final = logging.getLogger(__name__)
_RETRY_SECONDS: Final = 0.5
_LOOK_SECONDS: Final = 2.0


class Room:
    """Keeps `ballast` for the time when the store is full.

    Attributes:
        full: whether nothing new is to be accepted.

    """

    def __init__(self, ballast: Ballast) -> None:
        self._ballast = ballast
        self._on_change: Callable[[bool], None] = lambda _full: None
        self._waiting = 0
        self._given_up = asyncio.Event()
        self.full = not ballast.make()
        if self.full:
            _log.warning("there is no room for the ballast: nothing new is accepted")

    def watch(self, on_change: Callable[[bool], None]) -> None:
        """Call `on_change` with `full` now and whenever it has changed."""
        self._on_change = on_change
        on_change(self.full)

    @property
    def stuck(self) -> bool:
        """Whether a commit waits for room."""
        return self._waiting > 0

    async def commit(self, commit: Callable[[], Awaitable[_T]]) -> _T:
        """Return what `commit` does, which is called again until it finds room.

        Raises:
            StoreFull: it found none, and shall not wait any more.

        """
        try:
            return await commit()
        except StoreFull:
            self._change(full=True)
        self._waiting += 1
        try:
            return await self._try_again(commit)
        finally:
            self._waiting -= 1

    def give_up(self) -> None:
        """Let no commit wait any more: this process stops, and a full disk may stay full for ever."""
        self._given_up.set()

    async def run(self) -> None:
        """Make the ballast again as soon as there is room for it. Never returns."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Make the ballast again if there is room for it, and for the commits that wait before it."""
        if not self.full or self.stuck:
            return
        try:
            made = self._ballast.make()
        except OSError as error:
            _log.warning("the ballast cannot be made: %s", error)
            return
        if made:
            self._change(full=False)

    async def _try_again(self, commit: Callable[[], Awaitable[_T]]) -> _T:
        if self._ballast.release():
            _log.warning("the ballast is given up")
        while True:
            try:
                return await commit()
            except StoreFull:
                if self._given_up.is_set():
                    raise
            with suppress(TimeoutError):
                await asyncio.wait_for(self._given_up.wait(), _RETRY_SECONDS)

    def _change(self, *, full: bool) -> None:
        if full != self.full:
            self.full = full
            _log.warning("the store is full: nothing new is accepted" if full else "the store has room again")
            self._on_change(full)
