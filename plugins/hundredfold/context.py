"""The context: what a behaviour is given to work with, and its only way to the world of Hundredfold.

An async behaviour gets a `Context`, a sync one a `SyncContext`; they differ only in `checkpoint`. Everything read here
came along with the attempt; everything written is recorded with the result, except events and checkpoints, which are
sent at once.
"""

import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

_LOG: Final = logging.getLogger("hundredfold.agent")

Json = Any
"""A JSON value: None, bool, int, float, str, list or dict of such."""


class Port(Protocol):
    """Where a context's writes go: the worker's channel, or a fake."""

    def emit(self, value: Json) -> None:
        """Send an event; returns at once."""

    def save_checkpoint(self, value: Json) -> None:
        """Save a checkpoint; returns when it is durable."""


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of a session: who said it, and what."""

    role: str
    content: Json


class State(MutableMapping[str, Json]):
    """The key-value state of a session, which remembers what was written to it.

    Keys are text and values JSON; what is not raises `TypeError` or `ValueError` when it is set. Values are copied:
    changing one in place is not seen, set it again.
    """

    def __init__(self, values: Mapping[str, Json]) -> None:
        self._values = dict(values)
        self.written: dict[str, Json] = {}
        self.deleted: set[str] = set()

    def __getitem__(self, key: str) -> Json:
        return self._values[key]

    def __setitem__(self, key: str, value: Json) -> None:
        # Two copies: what was read may be changed in place, and that is not to be written.
        self._values[_text(key)], self.written[key] = _copy(value), _copy(value)
        self.deleted.discard(key)

    def __delitem__(self, key: str) -> None:
        del self._values[key]
        self.written.pop(key, None)
        self.deleted.add(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Session:
    """The memory that the tasks of one conversation share.

    What is read is what was there when the attempt began, and this attempt's own writes. What is written is recorded
    in one commit with the result; if the attempt does not complete, nothing of it is.

    Attributes:
        id: name of the session.
        version: how often it had been written when the attempt began.
        state: the key-value state.
        appended: the items this attempt has appended.
        merge: set it to true if what is written is right whatever other tasks write meanwhile (`concurrent` sessions):
            then it is recorded behind theirs, instead of the task being tried again.

    """

    def __init__(
        self, session_id: str, *, version: int = 0, items: Iterable[Item] = (), state: Mapping[str, Json] | None = None
    ) -> None:
        self.id = session_id
        self.version = version
        self.state = State(state or {})
        self.appended: list[Item] = []
        self.merge = False
        self._items = list(items)

    def items(self, role: str | None = None) -> list[Item]:
        """Return the items, oldest first; only those of one role, if it is given."""
        return [item for item in self._items if role in (None, item.role)]

    def append(self, role: str, content: Json) -> None:
        """Append an item.

        Raises:
            TypeError, ValueError: the content is no JSON.

        """
        self.appended.append(Item(_text(role), _copy(content)))
        self._items.append(Item(role, _copy(content)))


class BaseContext:
    """What both contexts have.

    Attributes:
        task_id: id of the task.
        attempt: number of this try, from 1.
        session: the task's session; a nameless one that is not kept if the task has none.
        saved: what the last checkpoint of this task holds; None if there is none.
        log: a logger; what it is told is kept with the attempt's output.

    """

    def __init__(
        self,
        port: Port,
        *,
        task_id: str,
        attempt: int,
        session: Session,
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

    @property
    def remaining(self) -> float | None:
        """Seconds until this attempt is ended for taking too long, never below zero; None if it never is."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def emit(self, value: Json) -> None:
        """Tell watchers of the task something: any JSON value. Durable, sent in batches, does not wait."""
        self._port.emit(value)


class Context(BaseContext):
    """What an async behaviour is given."""

    async def checkpoint(self, value: Json) -> None:
        """Save a JSON value for the next attempt of this task; returns when it is durable."""
        from asyncio import to_thread

        await to_thread(self._port.save_checkpoint, value)


class SyncContext(BaseContext):
    """What a sync behaviour is given."""

    def checkpoint(self, value: Json) -> None:
        """Save a JSON value for the next attempt of this task; returns when it is durable."""
        self._port.save_checkpoint(value)


def _copy(value: Json) -> Json:
    """Return a copy of a JSON value; raise `TypeError` or `ValueError` if it is none."""
    return json.loads(json.dumps(value, allow_nan=False))


def _text(value: str) -> str:
    if not isinstance(value, str):
        message = f"a {type(value).__name__} is no text"
        raise TypeError(message)
    return value
