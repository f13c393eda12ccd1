"""The store, behind threads of its own: blocking calls in there, awaitable ones out here, in order.

See also: `hundredfold.stores.contract`.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from hundredfold.errors import (
    Fenced,
    HundredfoldError,
    IndexUnavailable,
    StoreCannot,
    StoreUnavailable,
    StoreUnreachable,
)
from hundredfold.stores.contract import Batch, Capabilities, Committed, Conflict, Copying, Entry, Guard, Record, Store
from hundredfold.stores.search import Extract, Hit, Searching

from hundredfold_coordinator.outage import Outage, again
from hundredfold_coordinator.room import Room

_T = TypeVar("_T")
_DONE: Final = object()
_Job = tuple[Callable[[], Any], asyncio.Future[Any], bool]
"""What is to be called, whoever wants to know, and whether it is called even if nobody does any more."""


class Storage:
    """A store and its threads: one for searches, one for everything else.

    `guard` is added to every commit once it is set: the lease that this coordinator holds.

    Args:
        room: what lets a commit wait that finds no room; without it, such a commit fails.
        outage: what lets commits wait, and refuses reads, while the store does not answer.
        on_failure: called in the thread, before anything else is, when a commit has failed that may not be tried again.

    """

    def __init__(
        self,
        room: Room | None = None,
        outage: Outage | None = None,
        on_failure: Callable[[HundredfoldError], None] = lambda _error: None,
    ) -> None:
        self._room = room
        self._outage = outage or Outage()
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._searcher = ThreadPoolExecutor(1, "search")
        self._in_vain: tuple[float, StoreUnreachable | None] = (0.0, None)
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="store", daemon=True)
        self._store: Store
        self.guard: Guard | None = None
        self._thread.start()

    async def open(self, opener: Callable[[], Store]) -> None:
        """Open the store, in its thread, as soon as its server answers.

        Raises:
            StoreUnavailable: it cannot be opened.

        """
        self._store = await self._outage.open(lambda: self._run(opener))

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
        return await self._read(lambda: self._store.get(keys))

    async def get_all(self, keys: Sequence[bytes], *, page: int = 1000) -> list[Record | None]:
        """Return the record of each of many keys, page by page: no call for many takes long, then."""
        pages = [await self.get(keys[start : start + page]) for start in range(0, len(keys), page)]
        return [record for found in pages for record in found]

    async def scan(self, prefix: bytes, *, after: bytes = b"", limit: int = 1000, reverse: bool = False) -> list[Entry]:
        """See `Store.scan`."""
        return await self._read(lambda: self._store.scan(prefix, after=after, limit=limit, reverse=reverse))

    async def scan_all(self, prefix: bytes, *, after: bytes = b"", page: int = 1000) -> list[Entry]:
        """Return every record whose key starts with `prefix`, page by page, so that commits can come in between."""
        entries: list[Entry] = []
        while True:
            found = await self.scan(prefix, after=after, limit=page)
            entries += found
            if len(found) < page:
                return entries
            after = found[-1].key

    async def commit(self, batches: Sequence[Batch], *, wait_for_room: bool = True) -> list[Committed | Conflict]:
        """See `Store.commit`; one that finds no room, or no answer, is tried again until it finds both.

        Raises:
            StoreFull: there is no room, and it is not to be waited for: nothing follows from what is written, and it is
                not to take the ballast from what has been decided.

        """

        def commit() -> Awaitable[list[Committed | Conflict]]:
            return self._outage.commit(lambda: self._run(lambda: self._commit(batches)))

        return await (self._room.commit(commit) if self._room and wait_for_room else commit())

    async def probe(self) -> None:
        """Find out whether the store answers.

        Raises:
            StoreUnreachable: it does not.

        """
        await self._run(lambda: self._store.get([b"lease"]))

    async def look(self, looker: Callable[[Store], _T]) -> _T:
        """Return what `looker` finds, which reads the store at one moment: no commit comes in between."""
        return await self._read(lambda: looker(self._store))

    def require_vectors(self) -> None:
        """Refuse what needs a store that can search.

        Raises:
            StoreCannot: this one cannot.

        """
        if not self.capabilities.vectors:
            raise StoreCannot(self.url, "search for vectors")

    async def index(self, prefix: bytes, extract: Extract) -> None:
        """Make records searchable, if the store can search; see `Searching.index`."""
        if self.capabilities.vectors and isinstance(self._store, Searching):
            store = self._store
            await self._outage.commit(lambda: self._run(lambda: store.index(prefix, extract)))  # waits for its server

    async def search(self, collection: str, vector: bytes, limit: int, where: Mapping[str, str]) -> list[Hit]:
        """See `Searching.search`: in a thread of its own, so that nothing waits for it.

        That one fails says nothing of the store, which may have another connection for searches: it begins no outage.

        Raises:
            StoreCannot: the store cannot search.
            IndexUnavailable: it cannot at present.
            StoreUnreachable: its server does not answer.
            StoreUnavailable: it is closed.

        """
        store = self._store
        if not self.capabilities.vectors or not isinstance(store, Searching):
            raise StoreCannot(self.url, "search for vectors")
        search = partial(store.search, collection, vector, limit, where)
        return await self._loop.run_in_executor(self._searcher, self._search, search, time.monotonic())

    async def back_up(self, path: Path) -> None:
        """Copy the store into the new file `path`, with commits in between.

        Raises:
            StoreCannot: it is not made for that.
            BackupFailed: the file exists already, or cannot be written.

        """
        store = self._store
        if not isinstance(store, Copying):
            raise StoreCannot(store.url, "be copied while it is in use")
        steps = store.back_up(path)
        try:
            while await self._run(lambda: next(steps, _DONE)) is not _DONE:
                pass
        finally:
            await self._run(getattr(steps, "close", lambda: None))

    async def close(self) -> None:
        """Close the store and end the threads, after everything asked before but searches that have not begun."""
        self._closing = True
        await self._loop.run_in_executor(None, self._searcher.shutdown)
        if hasattr(self, "_store"):
            await self._run(self._close)
        self._jobs.put(None)
        self._thread.join()

    def _search(self, search: Callable[[], list[Hit]], asked: float) -> list[Hit]:
        """Search, in the thread for that, unless there is something that only the same would come of."""
        if self._closing:
            raise StoreUnavailable(self.url, "it is closed")
        since, problem = self._in_vain
        problem = self._outage.error or (problem if asked < since else None)
        if problem:
            raise again(problem)
        try:
            return search()
        except StoreUnreachable as error:
            self._in_vain = (time.monotonic(), error)
            raise again(error) from error
        except StoreUnavailable as error:
            raise IndexUnavailable(error.url, error.problem) from error

    def _commit(self, batches: Sequence[Batch]) -> list[Committed | Conflict]:
        try:
            return self._store.commit(batches, self.guard)
        except (StoreUnavailable, Fenced) as error:
            self._on_failure(error)
            raise

    def _close(self) -> None:
        self._on_failure = lambda _error: None  # what comes too late is no failure of the store
        self._store.close()

    def _run(self, call: Callable[[], _T], *, in_any_case: bool = True) -> asyncio.Future[_T]:
        future: asyncio.Future[_T] = self._loop.create_future()
        self._jobs.put((call, future, in_any_case))
        return future

    async def _read(self, call: Callable[[], _T]) -> _T:
        return await self._outage.read(lambda: self._run(call, in_any_case=False))

    def _work(self) -> None:
        while job := self._jobs.get():
            call, future, in_any_case = job
            if not in_any_case and (future.cancelled() or self._outage.error):
                # One that waited behind the call that found the server away: it would only find the same.
                error = again(self._outage.error) if self._outage.error else asyncio.CancelledError()
                self._loop.call_soon_threadsafe(_fail, future, error)
                continue
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
