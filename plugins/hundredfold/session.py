"""The session: the memory that the tasks of one conversation share, as a behaviour has it.

What is read is what was there when the attempt began, and this attempt's own writes. What is written is recorded in one
commit with the result; if the attempt does not complete, nothing of it is.
"""

import json
from asyncio import to_thread
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Any, Protocol

Json = Any
"""A JSON value: None, bool, int, float, str, list or dict of such."""


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of a session.

    Attributes:
        role: who said it.
        content: what.
        metadata: what else there is to know of it.
        number: its place in the session, from 1; 0 before it is recorded.
        task_id: the task that appended it; empty if a client did, or before it is recorded.
        attempt: the attempt of that task; 0 if there is none.
        create_time: when it was recorded, in UTC; None before that.

    """

    role: str
    content: Json
    metadata: Mapping[str, Json] = field(default_factory=dict)
    number: int = 0
    task_id: str = ""
    attempt: int = 0
    create_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class SessionSnapshot:
    """A session as a client has read it: what was there at that moment.

    Attributes:
        id: name of the session.
        version: grows by one with every write, and never comes again after a deletion; 0 if it never was written.
        items: those that were asked for, oldest first; none in a list of sessions.
        state: the key-value state; empty in a list of sessions.
        item_count: how many items there are.
        update_time: when it was last written, in UTC; None if it never was.

    """

    id: str
    version: int = 0
    items: Sequence[Item] = ()
    state: Mapping[str, Json] = field(default_factory=dict)
    item_count: int = 0
    update_time: datetime | None = None


class SessionReader(Protocol):
    """Where a session's earlier items come from: the worker's channel, or a fake."""

    def read_items(self, after: int, limit: int) -> list[Item]:
        """Return the items behind number `after`, oldest first, at most `limit`."""

    def find_items(self, query: str, limit: int, role: str) -> list[Item]:
        """Return the items that have every word of a query, newest first."""


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
        self._values[text_of(key)], self.written[key] = copy_of(value), copy_of(value)
        self.deleted.discard(key)

    def __delitem__(self, key: str) -> None:
        del self._values[key]
        self.written.pop(key, None)
        self.deleted.add(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class BaseSession:
    """What the sessions of sync and async behaviours have in common.

    Attributes:
        id: name of the session.
        version: what it was when the attempt began; 0 if it had never been written.
        state: the key-value state.
        appended: the items this attempt has appended.
        merge: set it to true if what is written is right whatever other tasks write meanwhile (`concurrent` sessions):
            then it is recorded behind theirs, instead of the task being tried again.

    """

    def __init__(
        self,
        session_id: str,
        *,
        version: int = 0,
        items: Iterable[Item] = (),
        state: Mapping[str, Json] | None = None,
        item_count: int = 0,
        reader: SessionReader | None = None,
    ) -> None:
        self.id = session_id
        self.version = version
        self.state = State(state or {})
        self.appended: list[Item] = []
        self.merge = False
        self._items = list(items)
        self._missing = max(0, item_count - len(self._items))
        self._reader = reader
        self._loading = Lock()

    def _needs_earlier(self, role: str | None, last: int | None) -> bool:
        return self._missing > 0 and (last is None or role is not None or last > len(self._items))

    def _at_hand(self, role: str | None, last: int | None) -> list[Item]:
        found = [item for item in self._items if role in (None, item.role)]
        return found if last is None else found[max(0, len(found) - last) :]

    def append(self, role: str, content: Json, metadata: Mapping[str, Json] | None = None) -> None:
        """Append an item.

        Raises:
            TypeError, ValueError: content or metadata is no JSON.

        """
        said = dict(copy_of(dict(metadata or {})))
        self.appended.append(Item(text_of(role), copy_of(content), said))
        self._items.append(Item(role, copy_of(content), said))

    def _load(self) -> None:
        with self._loading:  # who comes second finds them here
            earlier: list[Item] = []
            while self._reader and len(earlier) < self._missing:
                found = self._reader.read_items(len(earlier), self._missing - len(earlier))
                if not found:
                    break
                earlier += found
            self._items[:0] = earlier
            self._missing = 0

    def _find(self, query: str, limit: int, role: str | None) -> list[Item]:
        return self._reader.find_items(query, limit, role or "") if self._reader else []


class Session(BaseSession):
    """The session of a sync behaviour."""

    def items(self, role: str | None = None, *, last: int | None = None) -> list[Item]:
        """Return the items, oldest first; only those of one role, and only so many of the newest, if that is given.

        Of a long session only the newest items come along with an attempt; earlier ones are read when they are asked
        for, which takes a moment.
        """
        if self._needs_earlier(role, last):
            self._load()
        return self._at_hand(role, last)

    def search(self, query: str, limit: int = 20, *, role: str | None = None) -> list[Item]:
        """Return the recorded items that have every word of a query, in whatever case, newest first."""
        return self._find(query, limit, role)


class AsyncSession(BaseSession):
    """The session of an async behaviour: as `Session`, awaited."""

    async def items(self, role: str | None = None, *, last: int | None = None) -> list[Item]:
        """See `Session.items`."""
        if self._needs_earlier(role, last):
            await to_thread(self._load)
        return self._at_hand(role, last)

    async def search(self, query: str, limit: int = 20, *, role: str | None = None) -> list[Item]:
        """Return the recorded items that have every word of a query, in whatever case, newest first."""
        return await to_thread(self._find, query, limit, role)


def copy_of(value: Json) -> Json:
    """Return a copy of a JSON value.

    Raises:
        TypeError, ValueError: it is none.

    """
    return json.loads(json.dumps(value, allow_nan=False))


def text_of(value: str) -> str:
    """Return a text as it is.

    Raises:
        TypeError: it is none.

    """
    if not isinstance(value, str):
        message = f"a {type(value).__name__} is no text"
        raise TypeError(message)
    return value
