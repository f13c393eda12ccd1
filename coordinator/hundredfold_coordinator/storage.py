"""The store, behind a thread of its own: blocking calls in there, awaitable ones out here, in order.

See also: `hundredfold.stores.contract`.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hundredfold.stores.contract import Batch, Capabilities, Committed, Conflict, Entry, Guard, Record, Store

_T = TypeVar("_T")
_Job = tuple[Callable[[], Any], asyncio.Future[Any]]


class Storage:
    """A store and its thread.

    `guard` is added to every commit once it is set: the lease that this coordinator holds.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="store", daemon=True)
        self._store: Store
        self.guard: Guard | None = None
        self._thread.start()

    async def open(self, opener: Callable[[], Store]) -> None:
        """Open the store, in its thread.

        Raises:
            StoreUnavailable: it cannot be opened.

        """
        self._store = await self._run(opener)

    @property
    def url(self) -> str:
        """Where the store is, without secrets."""
        return self._store.url

    @property
    def capabilities(self) -> Capabilities:
        """What the store can do."""
        return self._store.capabilities

    async def get(self, keys: Sequence[bytes]) -> list[Record | None]:
        """See `Store.get`."""
        return await self._run(lambda: self._store.get(keys))

    async def scan(self, prefix: bytes, *, after: bytes = b"", limit: int = 1000, reverse: bool = False) -> list[Entry]:
        """See `Store.scan`."""
        return await self._run(lambda: self._store.scan(prefix, after=after, limit=limit, reverse=reverse))

    async def scan_all(self, prefix: bytes, *, after: bytes = b"", page: int = 1000) -> list[Entry]:
        """Return every record whose key starts with `prefix`, page by page, so that commits can come in between."""
        entries: list[Entry] = []
        while True:
            found = await self.scan(prefix, after=after, limit=page)
            entries += found
            if len(found) < page:
                return entries
            after = found[-1].key

    async def commit(self, batches: Sequence[Batch]) -> list[Committed | Conflict]:
        """See `Store.commit`."""
        return await self._run(lambda: self._store.commit(batches, self.guard))

    async def close(self) -> None:
        """Close the store and end the thread, after everything asked before."""
        if hasattr(self, "_store"):
            await self._run(self._store.close)
        self._jobs.put(None)
        self._thread.join()

    def _run(self, call: Callable[[], _T]) -> asyncio.Future[_T]:
        future: asyncio.Future[_T] = self._loop.create_future()
        self._jobs.put((call, future))
        return future

    def _work(self) -> None:
        while job := self._jobs.get():
            call, future = job
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001  # it belongs to whoever asked
                self._loop.call_soon_threadsafe(_fail, future, error)
            else:
                self._loop.call_soon_threadsafe(_resolve, future, result)


def _resolve(future: asyncio.Future[_T], result: _T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[_T], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
