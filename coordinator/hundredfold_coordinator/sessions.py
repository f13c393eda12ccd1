"""Sessions, as the store has them: read at any time, written by one at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import session_pb2

from hundredfold_coordinator import keys
from hundredfold_coordinator.storage import Storage

_T = TypeVar("_T")


class Sessions:
    """The sessions in `storage`."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def record(self, session_id: str) -> records_pb2.SessionRecord:
        """Return all of a session but its items; a new one if there is none, or no id."""
        if not session_id:
            return records_pb2.SessionRecord()
        (found,) = await self._storage.get([keys.session(session_id)])
        return records_pb2.SessionRecord.FromString(found.value) if found else records_pb2.SessionRecord()

    async def read(self, session_id: str) -> session_pb2.Session:
        """Return a session with its items."""
        record = await self.record(session_id)
        entries = await self._storage.scan_all(keys.items_of(session_id)) if record.item_count else []
        return session_pb2.Session(
            id=session_id,
            version=record.version,
            state=record.state,
            items=[session_pb2.SessionItem.FromString(entry.record.value) for entry in entries],
        )

    async def write(self, session_id: str, writer: Callable[[records_pb2.SessionRecord], Awaitable[_T]]) -> _T:
        """Give `writer` a session's record, and return what it returns, which is when its writes are durable.

        Nobody else writes the session meanwhile: or two that were read before either was committed would both be found
        to be in time. A caller that goes away gives its turn up to nobody before its writer is done.
        """
        if not session_id:
            return await writer(records_pb2.SessionRecord())
        writing = asyncio.ensure_future(self._write(session_id, writer))
        writing.add_done_callback(_heed)
        return await asyncio.shield(writing)

    async def _write(self, session_id: str, writer: Callable[[records_pb2.SessionRecord], Awaitable[_T]]) -> _T:
        turn = self._turns.setdefault(session_id, asyncio.Lock())
        async with turn:
            return await writer(await self.record(session_id))


def _heed(writing: "asyncio.Future[Any]") -> None:
    """Look at an error, so that nobody complains of one that was raised when its caller had gone."""
    if not writing.cancelled():
        writing.exception()
