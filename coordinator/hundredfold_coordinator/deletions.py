"""Deletions: what is left of sessions and collections that are deleted goes page by page.

A deletion itself is one small commit: it takes the head away, so that all of it is gone for everybody, and leaves a
record that says what is left. What is found at the start was left by a coordinator that ended meanwhile.

See also: docs/adr/0017-deletions-are-noted-then-finished.md.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from hundredfold.errors import StoreUnreachable
from hundredfold.internal.v1 import records_pb2
from hundredfold.stores.contract import Batch, Entry, Write

from hundredfold_coordinator import keys
from hundredfold_coordinator.storage import Storage
from hundredfold_coordinator.to_its_end import to_its_end

PAGE: Final = 100
"""Records deleted in one commit; they are read before that, and each can be megabytes."""


class Deletions:
    """Finishes deletions in `storage`; `settled` returns when nobody writes any more to what is deleted by now."""

    def __init__(self, storage: Storage, settled: Callable[[], Awaitable[None]]) -> None:
        self._storage = storage
        self._settled = settled
        self._wanted = asyncio.Event()
        self._wanted.set()

    def begin(self) -> None:
        """Finish soon what has been deleted by now."""
        self._wanted.set()

    async def run(self) -> None:
        """Finish what was deleted before, and then whatever is. Never returns."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self.finish()
            except StoreUnreachable as error:
                self._wanted.set()
                await asyncio.sleep(error.retry_seconds)

    async def finish(self) -> None:
        """Delete all that is left of what is deleted."""
        while deletions := await self._storage.scan(keys.DELETION, limit=PAGE):
            # Who has looked a collection up before it was deleted may not have written yet. Once its deletion is
            # finished its generation may be used again, and nothing of it may come after that.
            await self._settled()
            for deletion in deletions:
                await self._finish(deletion)

    async def _finish(self, deletion: Entry) -> None:
        generation = records_pb2.DeletionRecord.FromString(deletion.record.value).generation
        prefix, end = keys.deleted_range(deletion.key, generation)
        after, more = b"", True
        while more:
            entries = await self._storage.scan(prefix, after=after, limit=PAGE)
            writes = [Write(entry.key, None) for entry in entries if entry.key < end]
            more = len(writes) == PAGE
            if more:
                after = entries[-1].key
            else:  # unless it says more by now: then it is there to be finished again
                writes.append(Write(deletion.key, None, deletion.record.version))
            await to_its_end(self._storage.commit([Batch(writes)]))
