"""The context: what a behaviour is given to work with, and its only way to the world of Hundredfold.

An async behaviour gets a `Context`, a sync one a `SyncContext`; they differ in what has to be awaited. What is written
here is recorded with the result, except events and checkpoints, which are sent at once.

See also: `hundredfold.session`, `hundredfold.memory`.
"""

import logging
import time
from typing import Final, Generic, Protocol, TypeVar

from hundredfold.memory import AsyncMemory, BaseMemory, Memory, MemoryPort
from hundredfold.session import AsyncSession, BaseSession, Json, Session

_LOG: Final = logging.getLogger("hundredfold.agent")
_S = TypeVar("_S", bound=BaseSession)
_M = TypeVar("_M", bound=BaseMemory)


class Port(MemoryPort, Protocol):
    """Where a context's writes go: the worker's channel, or a fake."""

    def emit(self, value: Json) -> None:
        """Send an event; returns at once."""

    def save_checkpoint(self, value: Json) -> None:
        """Save a checkpoint; returns when it is durable."""


class BaseContext(Generic[_S, _M]):
    """What both contexts have.

    Attributes:
        task_id: id of the task.
        attempt: number of this try, from 1.
        session: the task's session; a nameless one that is not kept if the task has none.
        saved: what the last checkpoint of this task holds; None if there is none.
        log: a logger; what it is told is kept with the attempt's output.
        memories: the collections that were asked for, by name.

    """

    _memory_class: type[_M]

    def __init__(
        self,
        port: Port,
        *,
        task_id: str,
        attempt: int,
        session: _S,
        saved: Json = None,
        remaining_seconds: float | None = None,
    ) -> None:
        self._port = port
        self._end = None if remaining_seconds is None else time.monotonic() + remaining_seconds
        self.task_id = task_id
        self.attempt = attempt
        self.session = session
        self.saved = saved
        self.log = _LOG
        self.memories: dict[str, _M] = {}

    @property
    def remaining(self) -> float | None:
        """Seconds until this attempt is ended for taking too long, never below zero; None if it never is."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def memory(self, collection: str) -> _M:
        """Return a collection of vectors, to be searched and written; the same name gives the same object."""
        if collection not in self.memories:
            self.memories[collection] = self._memory_class(self._port, collection)
        return self.memories[collection]

    def emit(self, value: Json) -> None:
        """Tell watchers of the task something: any JSON value. Durable, sent in batches, does not wait."""
        self._port.emit(value)


class Context(BaseContext[AsyncSession, AsyncMemory]):
    """What an async behaviour is given."""

    _memory_class = AsyncMemory

    async def checkpoint(self, value: Json) -> None:
        """Save a JSON value for the next attempt of this task; returns when it is durable."""
        from asyncio import to_thread

        await to_thread(self._port.save_checkpoint, value)


class SyncContext(BaseContext[Session, Memory]):
    """What a sync behaviour is given."""

    _memory_class = Memory

    def checkpoint(self, value: Json) -> None:
        """Save a JSON value for the next attempt of this task; returns when it is durable."""
        self._port.save_checkpoint(value)
