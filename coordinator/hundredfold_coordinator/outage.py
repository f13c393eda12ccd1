"""Outages: what to do while the server of a store does not answer.

Nothing that was decided may be dropped, so commits wait; reads are refused at once, so that whoever asks is told; and
nothing new is accepted. The server is asked again and again, later and later, until it answers or patience ends.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from hundredfold.errors import StoreUnavailable, StoreUnreachable

from hundredfold_coordinator.to_its_end import to_its_end

_T = TypeVar("_T")
_log: Final = logging.getLogger(__name__)
_FIRST_SECONDS: Final = 0.05
_LONGEST_SECONDS: Final = 2.0


class Outage:
    """Watches over calls to a store that is a server.

    Args:
        patience_seconds: how long an outage may last before the store counts as failed; 0 for ever.
        on_failure: told then.

    """

    def __init__(
        self,
        patience_seconds: float = 0,
        on_failure: Callable[[StoreUnavailable], None] = lambda _error: None,
    ) -> None:
        self._patience_seconds = patience_seconds
        self._on_failure = on_failure
        self._on_change: Callable[[StoreUnreachable | None], None] = lambda _error: None
        self._error: StoreUnreachable | None = None
        self._since = 0.0
        self._given_up = False
        self._starting = True
        self._answers = asyncio.Event()
        self._answers.set()
        self._began = asyncio.Event()
        self._turn = asyncio.Lock()

    @property
    def stuck(self) -> bool:
        """Whether there is one."""
        return self._error is not None

    @property
    def error(self) -> StoreUnreachable | None:
        """What is wrong, if there is one and reads are refused."""
        return None if self._starting else self._error

    def watch(self, on_change: Callable[[StoreUnreachable | None], None]) -> None:
        """Call `on_change` with what is wrong when an outage begins, and with None when it is over."""
        self._on_change = on_change

    def refuse_reads(self) -> None:
        """Refuse reads from here on: until then, while a coordinator starts, they wait as commits do."""
        self._starting = False

    async def open(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """Return what `call` does, which opens the store, as soon as its server answers.

        Raises:
            StoreUnavailable: patience has ended.

        """
        pause, since = _FIRST_SECONDS, time.monotonic()
        while True:
            try:
                return await call()
            except StoreUnreachable as error:
                if pause == _FIRST_SECONDS:
                    _log.warning("%s", error)
                away = time.monotonic() - since
                if self._patience_seconds and away > self._patience_seconds:
                    raise _failure(error, away) from error
            await asyncio.sleep(pause)
            pause = min(_LONGEST_SECONDS, 2 * pause)

    async def read(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """Return what `call` does; during an outage it is not even tried.

        Raises:
            StoreUnreachable: the server does not answer.

        """
        if self._starting:
            async with self._turn:
                await self._answers.wait()
                return await self._until_answered(call(), call)
        if self._error:
            raise again(self._error)
        try:
            return await call()
        except StoreUnreachable as error:
            self.begin(error)
            raise

    async def commit(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """Return what `call` does, which is called again until the server answers; one after the other.

        That goes on if the caller goes away: otherwise the next one would be made before it is known what became of
        this one.

        Raises:
            StoreUnreachable: it does not, and it shall not be waited for any more.

        """
        # One at a time: what became of one that was not answered is known when the very same is sent again, and only
        # if nothing else was sent in between.
        await self._turn.acquire()
        try:
            await self._answers.wait()
            first = asyncio.ensure_future(call())  # at once, not in the task: they are made in the order they came in
        except BaseException:
            self._turn.release()
            raise
        return await to_its_end(self._to_end_of_turn(first, call))

    async def _to_end_of_turn(self, sent: Awaitable[_T], call: Callable[[], Awaitable[_T]]) -> _T:
        try:
            return await self._until_answered(sent, call)
        finally:
            self._turn.release()

    async def _until_answered(self, sent: Awaitable[_T], call: Callable[[], Awaitable[_T]]) -> _T:
        """Return what comes of a call that was made, and of its repetitions."""
        while True:
            try:
                return await sent
            except StoreUnreachable as error:
                if self._given_up:
                    raise
                self.begin(error)
            await self._answers.wait()
            sent = call()

    def begin(self, error: StoreUnreachable) -> None:
        """Take note that the server does not answer, from whoever has asked it. Idempotent."""
        if self._error is None and not self._given_up:
            _log.warning("%s", error)
            self._since = time.monotonic()
            self._error = error
            self._answers.clear()
            self._began.set()
            self._on_change(error)

    def give_up(self) -> None:
        """Let no commit wait any more: this process stops, and the server may stay away for ever."""
        self._given_up = True
        self._answers.set()

    async def run(self, probe: Callable[[], Awaitable[object]]) -> None:
        """Ask with `probe` whether the server answers again, whenever there is an outage. Never returns."""
        while True:
            await self._began.wait()
            self._began.clear()
            await self._until_it_answers(probe)

    async def _until_it_answers(self, probe: Callable[[], Awaitable[object]]) -> None:
        pause = _FIRST_SECONDS
        while self._error:
            # Not all at the same moment: others may wait for the same server.
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  # nothing secret
            pause = min(_LONGEST_SECONDS, 2 * pause)
            try:
                await probe()
            except StoreUnreachable as error:
                self._lose_patience(error)
            except StoreUnavailable as error:  # it answers, and is not what it was
                self._on_failure(error)
                self.give_up()
                return
            else:
                self._end()

    def _end(self) -> None:
        _log.warning("the store answers again, after %.1f s", time.monotonic() - self._since)
        self._error = None
        self._answers.set()
        self._on_change(None)

    def _lose_patience(self, error: StoreUnreachable) -> None:
        away = time.monotonic() - self._since
        if self._patience_seconds and away > self._patience_seconds:
            self._on_failure(_failure(error, away))


def again(error: StoreUnreachable) -> StoreUnreachable:
    """Return the same error for another caller: one that is raised keeps all of those alive that it went through."""
    return StoreUnreachable(error.url, error.problem, error.retry_seconds)


def _failure(error: StoreUnreachable, seconds: float) -> StoreUnavailable:
    return StoreUnavailable(url=error.url, problem=f"it has not answered for {seconds:.0f} s: {error.problem}")
