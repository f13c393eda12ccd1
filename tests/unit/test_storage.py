"""Shows that a store is called in a thread of its own, in order, and that its errors reach whoever asked."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

import pytest
from hundredfold.errors import Fenced, HundredfoldError, IndexUnavailable, StoreUnavailable, StoreUnreachable
from hundredfold.stores.contract import Batch, Capabilities, Committed, Conflict, Entry, Guard, Record, Write
from hundredfold.stores.memory import MemoryStore
from hundredfold.stores.search import Extract, Hit
from hundredfold_coordinator.outage import Outage
from hundredfold_coordinator.storage import Storage


class WatchedStore:
    """A store in memory that notes its calls, can be held up, and can fail."""

    url = "watched:"
    capabilities = Capabilities(durable=True, shared=False)

    def __init__(self) -> None:
        self._inner = MemoryStore()
        self.calls: list[str] = []
        self.threads: set[str] = set()
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.error: BaseException | None = None

    def get(self, keys: Sequence[bytes]) -> list[Record | None]:
        self._note("get")
        return self._inner.get(keys)

    def scan(self, prefix: bytes, *, after: bytes = b"", limit: int = 1000, reverse: bool = False) -> list[Entry]:
        self._note(f"scan {limit}")
        return self._inner.scan(prefix, after=after, limit=limit, reverse=reverse)

    def commit(self, batches: Iterable[Batch], guard: Guard | None = None) -> list[Committed | Conflict]:
        self._note("commit")
        return self._inner.commit(batches, guard)

    def close(self) -> None:
        self._note("close")

    def _note(self, call: str) -> None:
        assert self.may_go_on.wait(10)
        self.calls.append(call)
        self.threads.add(threading.current_thread().name)
        if self.error:
            raise self.error


def batch(*keys: bytes) -> Batch:
    return Batch([Write(key, b"v") for key in keys])


@pytest.fixture
async def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
async def storage(store: WatchedStore) -> AsyncIterator[Storage]:
    storage = Storage()
    await storage.open(lambda: store)
    yield storage
    store.error = None
    store.may_go_on.set()
    await storage.close()


async def test_every_call_is_made_in_one_other_thread(storage: Storage, store: WatchedStore) -> None:
    await storage.commit([batch(b"a")])
    assert await storage.get([b"a", b"b"]) == [Record(b"v", 1), None]
    assert await storage.scan(b"a") == [Entry(b"a", Record(b"v", 1))]
    assert store.threads == {"store"}
    assert threading.current_thread().name != "store"


async def test_the_loop_runs_while_the_store_is_busy(storage: Storage, store: WatchedStore) -> None:
    store.may_go_on.clear()
    commit = asyncio.ensure_future(storage.commit([batch(b"a")]))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not commit.done()
    store.may_go_on.set()
    assert await commit == [Committed(1)]


async def test_calls_are_made_in_the_order_they_were_asked_for(storage: Storage, store: WatchedStore) -> None:
    store.may_go_on.clear()
    asked = [storage.commit([batch(b"a")]), storage.get([b"a"]), storage.scan(b"", limit=5), storage.get([b"b"])]
    running = asyncio.gather(*asked)
    await asyncio.sleep(0)
    store.may_go_on.set()
    results = await running
    assert store.calls == ["commit", "get", "scan 5", "get"]
    assert results[1] == [Record(b"v", 1)]


async def test_who_goes_away_does_not_stop_a_commit(storage: Storage, store: WatchedStore) -> None:
    store.may_go_on.clear()
    commit = asyncio.ensure_future(storage.commit([batch(b"a")]))
    await asyncio.sleep(0)
    commit.cancel()
    store.may_go_on.set()
    assert await storage.get([b"a"]) == [Record(b"v", 1)]
    assert commit.cancelled()


@pytest.mark.parametrize(
    "error", [StoreUnavailable(url="u", problem="p"), Fenced(), ValueError("odd"), SystemExit(1)], ids=repr
)
async def test_errors_reach_whoever_asked_and_nobody_else(
    storage: Storage, store: WatchedStore, error: BaseException
) -> None:
    store.error = error
    with pytest.raises(type(error)) as caught:
        await storage.get([b"a"])
    assert caught.value is error
    store.error = None
    assert await storage.get([b"a"]) == [None]


async def test_every_commit_is_guarded_once_there_is_a_guard(storage: Storage) -> None:
    (result,) = await storage.commit([batch(b"lease")])
    assert isinstance(result, Committed)
    storage.guard = Guard(b"lease", result.version)
    await storage.commit([batch(b"a")])
    storage.guard = Guard(b"lease", result.version + 1)
    with pytest.raises(Fenced):
        await storage.commit([batch(b"b")])
    assert await storage.get([b"b"]) == [None]


@pytest.mark.parametrize(("records", "scans"), [(0, 1), (2, 1), (3, 2), (7, 3), (9, 4)])
async def test_scanning_all_goes_page_by_page(storage: Storage, store: WatchedStore, records: int, scans: int) -> None:
    keys = [f"a/{number:03}".encode() for number in range(records)]
    await storage.commit([batch(*keys, b"b/1")])
    found = await storage.scan_all(b"a/", page=3)
    assert [entry.key for entry in found] == keys
    assert store.calls.count("scan 3") == scans


async def test_scanning_all_can_begin_behind_a_key(storage: Storage) -> None:
    await storage.commit([batch(b"a/1", b"a/2", b"a/3")])
    assert [entry.key for entry in await storage.scan_all(b"a/", after=b"a/1", page=1)] == [b"a/2", b"a/3"]


async def test_many_keys_are_asked_for_page_by_page(storage: Storage, store: WatchedStore) -> None:
    await storage.commit([batch(b"a", b"c", b"e")])
    found = await storage.get_all([b"a", b"b", b"c", b"d", b"e"], page=2)
    assert [record is not None for record in found] == [True, False, True, False, True]
    assert store.calls.count("get") == 3
    assert await storage.get_all([]) == []


async def test_commits_come_in_between_two_pages(storage: Storage, store: WatchedStore) -> None:
    await storage.commit([batch(b"a/1", b"a/2", b"a/3", b"a/4")])
    scan = asyncio.ensure_future(storage.scan_all(b"a/", page=2))
    await asyncio.sleep(0)
    commit = asyncio.ensure_future(storage.commit([batch(b"b")]))
    await asyncio.gather(scan, commit)
    assert store.calls == ["commit", "scan 2", "commit", "scan 2", "scan 2"]


async def test_it_says_what_the_store_says(storage: Storage) -> None:
    assert (storage.url, storage.capabilities.durable) == ("watched:", True)


async def test_closing_comes_after_everything_asked_before(store: WatchedStore) -> None:
    storage = Storage()
    await storage.open(lambda: store)
    asked = asyncio.ensure_future(storage.get([b"a"]))
    await asyncio.sleep(0)
    await storage.close()
    assert store.calls == ["get", "close"]
    assert asked.done()
    assert not storage._thread.is_alive()


@pytest.mark.parametrize("opener", [None, lambda: (_ for _ in ()).throw(StoreUnavailable(url="u", problem="p"))])
async def test_what_was_never_open_can_be_closed(opener: Callable[[], WatchedStore] | None) -> None:
    storage = Storage()
    if opener:
        with pytest.raises(StoreUnavailable):
            await storage.open(opener)
    await storage.close()
    assert not storage._thread.is_alive()


async def test_what_comes_after_the_close_is_no_failure(store: WatchedStore) -> None:
    failures: list[StoreUnavailable] = []
    storage = Storage(on_failure=failures.append)
    await storage.open(lambda: store)
    store.error = StoreUnavailable(url="u", problem="p")
    first = asyncio.ensure_future(storage.commit([batch(b"a")]))
    await asyncio.sleep(0)
    await asyncio.gather(first, return_exceptions=True)
    assert failures == [store.error]
    closing = storage._run(storage._close)
    late = asyncio.ensure_future(storage.commit([batch(b"b")]))
    await asyncio.gather(closing, late, return_exceptions=True)
    assert failures == [store.error]
    store.error = None
    await storage.close()


class Searched(WatchedStore):
    """One whose searches can be held up, and can fail, by themselves."""

    capabilities = Capabilities(durable=True, shared=True, vectors=True)

    def __init__(self) -> None:
        super().__init__()
        self.searches = 0
        self.may_search = threading.Event()
        self.problem: HundredfoldError | None = None

    def index(self, prefix: bytes, extract: Extract) -> None:
        pass

    def search(self, *_asked: object) -> list[Hit]:
        self.searches += 1
        assert self.may_search.wait(10)
        if self.problem:
            raise self.problem
        return []


async def searching(store: Searched, count: int) -> tuple[Storage, Outage, "list[asyncio.Future[list[Hit]]]"]:
    """Return a storage with searches of which the first one has begun."""
    outage = Outage()
    storage = Storage(outage=outage)
    await storage.open(lambda: store)
    outage.refuse_reads()
    asked = [asyncio.ensure_future(storage.search("c", b"", 1, {})) for _ in range(count)]
    while not store.searches:
        await asyncio.sleep(0.001)
    return storage, outage, asked


async def kinds(asked: "list[asyncio.Future[list[Hit]]]") -> set[type[object]]:
    return {type(found) for found in await asyncio.gather(*asked, return_exceptions=True)}


async def test_a_search_that_is_not_answered_is_no_outage_and_speaks_for_those_behind_it() -> None:
    """Each of them would be as silent, and the rest of the store may answer."""
    store = Searched()
    storage, outage, asked = await searching(store, 5)
    store.problem = StoreUnreachable("server:", "nothing came for 10 s", 1)
    store.may_search.set()
    assert await kinds(asked) == {StoreUnreachable}
    assert store.searches == 1
    assert not outage.stuck
    store.problem = None
    assert await storage.search("c", b"", 1, {}) == []
    await storage.close()


async def test_searches_that_wait_when_an_outage_begins_are_not_made() -> None:
    store = Searched()
    storage, outage, (first, *others) = await searching(store, 5)
    outage.begin(StoreUnreachable("server:", "no route", 1))
    store.may_search.set()
    assert await first == []
    assert await kinds(others) == {StoreUnreachable}
    assert store.searches == 1
    await storage.close()


async def test_closing_waits_for_no_search_but_the_one_that_goes_on() -> None:
    store = Searched()
    storage, _, (first, *others) = await searching(store, 5)
    closing = asyncio.ensure_future(storage.close())
    await asyncio.sleep(0)
    store.may_search.set()
    await closing
    assert await first == []
    assert await kinds(others) == {StoreUnavailable}
    assert store.searches == 1


async def test_what_cannot_be_searched_is_said_so_that_nobody_waits_for_it() -> None:
    """`UNAVAILABLE` is asked again by agents, without end."""
    store = Searched()
    storage, _, asked = await searching(store, 1)
    store.problem = StoreUnavailable("server:", "it is another one")
    store.may_search.set()
    assert await kinds(asked) == {IndexUnavailable}
    await storage.close()
