"""Sessions, as the store has them: read at any time, written by one at a time."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from hundredfold.bounds import check_name
from hundredfold.internal.v1 import records_pb2
from hundredfold.stores.contract import Entry
from hundredfold.v1 import session_pb2
from hundredfold.words import has_words, words_of

from hundredfold_coordinator import keys
from hundredfold_coordinator.json_text import parsed
from hundredfold_coordinator.pages import fitting, pages
from hundredfold_coordinator.storage import Storage
from hundredfold_coordinator.to_its_end import to_its_end

CONTEXT_ITEMS: Final = 1000
_CONTEXT_BYTES: Final = 1 << 20
"""How much of a session comes along with an attempt, the newest of it; the rest is there for the asking."""
_READ_BYTES: Final = 8 << 20
_T = TypeVar("_T")


class Sessions:
    """The sessions in `storage`."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def deleted_version(self) -> int:
        """Return the highest version that a deleted session had; 0 if none was ever deleted."""
        (found,) = await self._storage.get([keys.VERSION])
        return records_pb2.VersionRecord.FromString(found.value).version if found else 0

    async def record(self, session_id: str) -> records_pb2.SessionRecord:
        """Return all of a session but its items; a new one if there is none, or no id."""
        if not session_id:
            return records_pb2.SessionRecord()
        wanted = [keys.session(session_id), keys.deletion_of_items(session_id)]
        found, deletion = await self._storage.get(wanted)
        if found:
            return records_pb2.SessionRecord.FromString(found.value)
        if deletion:  # what is left of the one before is none of it
            before = records_pb2.DeletionRecord.FromString(deletion.value).generation
            return records_pb2.SessionRecord(generation=before + 1)
        return records_pb2.SessionRecord()

    async def read(self, session_id: str, after: int, limit: int) -> session_pb2.Session:
        """Return a session with the items behind number `after`, at most `limit` of them."""
        record = await self.record(session_id)
        session = view(session_id, record)
        session.items.extend(await self._items(session_id, record, after, limit))
        return session

    async def items(self, session_id: str, after: int, limit: int) -> list[session_pb2.SessionItem]:
        """Return the items behind number `after`, oldest first, at most `limit` of them, and about 8 MiB."""
        return await self._items(session_id, await self.record(session_id), after, limit)

    async def _items(
        self, session_id: str, record: records_pb2.SessionRecord, after: int, limit: int
    ) -> list[session_pb2.SessionItem]:
        found: list[session_pb2.SessionItem] = []
        begin = keys.item(session_id, record.generation, after)
        async for value in self._values(session_id, record, _READ_BYTES, after=begin):
            found.append(session_pb2.SessionItem.FromString(value))
            if len(found) == limit:
                break
        return found

    async def context(self, session_id: str) -> session_pb2.Session:
        """Return what an attempt is given of a session: all of it, or the newest items of a long one."""
        record = await self.record(session_id)
        session = view(session_id, record)
        if not record.item_count:
            return session
        newest: list[session_pb2.SessionItem] = []
        async for value in self._values(session_id, record, _CONTEXT_BYTES, reverse=True):
            newest.append(session_pb2.SessionItem.FromString(value))
            if len(newest) == CONTEXT_ITEMS:
                break
        session.items.extend(reversed(newest))
        return session

    async def _values(
        self,
        session_id: str,
        record: records_pb2.SessionRecord,
        most_bytes: int,
        *,
        after: bytes = b"",
        reverse: bool = False,
    ) -> AsyncIterator[bytes]:
        """Yield items as they are stored, at least one, until they are too many bytes; never many pages ahead."""
        size = 0
        prefix, first = keys.items_of(session_id, record.generation), _fitting(record)
        async for entries in pages(self._storage, prefix, after=after, reverse=reverse, first=first):
            for entry in entries:
                if size and size + len(entry.record.value) > most_bytes:
                    return
                size += len(entry.record.value)
                yield entry.record.value

    async def find(self, session_id: str, query: str, role: str, limit: int) -> list[session_pb2.SessionItem]:
        """Return the items that have every word of a query, newest first, at most `limit` of them, and about 8 MiB."""
        words = words_of(query)
        record = await self.record(session_id)
        prefix = keys.items_of(session_id, record.generation)
        found: list[session_pb2.SessionItem] = []
        size = 0
        async for entries in pages(self._storage, prefix, reverse=True, first=_fitting(record)):
            # Not in the loop: to read megabytes of JSON takes tens of milliseconds.
            for item in await asyncio.to_thread(_matching, entries, role, words):
                size += item.ByteSize()
                if found and size > _READ_BYTES:
                    return found
                found.append(item)
                if len(found) == limit:
                    return found
        return found

    async def write(self, session_id: str, writer: Callable[[records_pb2.SessionRecord], Awaitable[_T]]) -> _T:
        """Give `writer` a session's record, and return what it returns, which is when its writes are durable.

        Nobody else writes the session meanwhile: or two that were read before either was committed would both be found
        to be in time. A caller that goes away gives its turn up to nobody before its writer is done.
        """
        if not session_id:
            return await writer(records_pb2.SessionRecord())
        return await to_its_end(self._write(session_id, writer))

    async def _write(self, session_id: str, writer: Callable[[records_pb2.SessionRecord], Awaitable[_T]]) -> _T:
        turn = self._turns.setdefault(session_id, asyncio.Lock())
        async with turn:
            return await writer(await self.record(session_id))


def _fitting(record: records_pb2.SessionRecord) -> int:
    """Return how many of a session's items are read at once: one round for all of them, unless they are large."""
    return fitting(record.item_bytes / record.item_count) if record.item_count else 1


def view(session_id: str, record: records_pb2.SessionRecord) -> session_pb2.Session:
    """Return a session as clients see it, without its items."""
    session = session_pb2.Session(
        id=session_id, version=record.version, state=record.state, item_count=record.item_count
    )
    if record.HasField("update_time"):
        session.update_time.CopyFrom(record.update_time)
    return session


def check_writes(field: str, writes: session_pb2.SessionWrites) -> None:
    """Check what is to be written: whoever reads it relies on it.

    Raises:
        InvalidArgument: names the field that does not fit.

    """
    for index, item in enumerate(writes.append):
        path = f"{field}.append[{index}]"
        check_name(f"{path}.role", item.role)
        parsed(f"{path}.content", item.content)
        for name, text in item.metadata.items():
            parsed(f"{path}.metadata[{name!r}]", text)
    for key, value in writes.set.items():
        parsed(f"{field}.set[{key!r}]", value)


def _matching(entries: Sequence[Entry], role: str, words: list[str]) -> list[session_pb2.SessionItem]:
    items = (session_pb2.SessionItem.FromString(entry.record.value) for entry in entries)
    return [item for item in items if role in ("", item.role) and has_words(json.loads(item.content), words)]
