"""Work that goes on to its end when whoever asked for it goes away: half of it would be worse than none."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


async def to_its_end(work: Coroutine[Any, Any, _T]) -> _T:
    """Return what `work` returns; cancelling the caller does not cancel it."""
    running = asyncio.ensure_future(work)
    running.add_done_callback(_heed)
    return await asyncio.shield(running)


def _heed(done: "asyncio.Future[Any]") -> None:
    """Look at an error, so that nobody complains of one that was raised when its caller had gone."""
    if not done.cancelled():
        done.exception()
