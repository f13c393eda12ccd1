"""Shows that large records are read a few at a time, and small ones many; and that answers have a size."""

from collections.abc import AsyncIterator

import pytest
from hundredfold.internal.v1 import records_pb2
from hundredfold.stores.contract import Batch, Entry, Write
from hundredfold.stores.memory import MemoryStore
from hundredfold.v1 import session_pb2
from hundredfold_coordinator import keys
from hundredfold_coordinator.pages import fitting, pages
from hundredfold_coordinator.sessions import Sessions
from hundredfold_coordinator.storage import Storage

MIB = 1 << 20


class WatchedStorage(Storage):
    """Notes how many bytes each scan has brought."""

    def __init__(self) -> None:
        super().__init__()
        self.scanned: list[int] = []

    async def scan(self, prefix: bytes, *, after: bytes = b"", limit: int = 1000, reverse: bool = False) -> list[Entry]:
        """See `Storage`."""
        entries = await super().scan(prefix, after=after, limit=limit, reverse=reverse)
        self.scanned.append(sum(len(entry.record.value) for entry in entries))
        return entries


@pytest.fixture
async def storage() -> AsyncIterator[WatchedStorage]:
    storage = WatchedStorage()
    await storage.open(MemoryStore)
    yield storage
    await storage.close()


async def put(storage: Storage, count: int, size: int) -> None:
    await storage.commit([Batch([Write(b"p/%05d" % number, b"x" * size) for number in range(count)])])


async def put_session(storage: Storage, items: int, size: int) -> None:
    record = records_pb2.SessionRecord(version=1, item_count=items, item_bytes=items * size)
    await storage.commit([Batch([Write(keys.session("s"), record.SerializeToString())])])
    for number in range(1, items + 1):
        item = session_pb2.SessionItem(role="user", number=number, content=b'"%s word"' % (b"x" * size))
        await storage.commit([Batch([Write(keys.item("s", 0, number), item.SerializeToString())])])


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 500])
@pytest.mark.parametrize("reverse", [False, True])
async def test_all_are_read_in_order_whatever_their_number(storage: WatchedStorage, count: int, reverse: bool) -> None:  # noqa: FBT001  # a parameter
    await put(storage, count, 10)
    found = [entry.key async for page in pages(storage, b"p/", reverse=reverse) for entry in page]
    assert found == sorted((b"p/%05d" % number for number in range(count)), reverse=reverse)


async def test_it_can_begin_behind_a_key(storage: WatchedStorage) -> None:
    await put(storage, 9, 10)
    found = [entry.key async for page in pages(storage, b"p/", after=b"p/00006") for entry in page]
    assert found == [b"p/00007", b"p/00008"]


async def test_large_records_are_read_one_at_a_time_once_they_are_known(storage: WatchedStorage) -> None:
    await put(storage, 8, 2 * MIB)
    assert [len(page) async for page in pages(storage, b"p/")] == [4, 1, 1, 1, 1]


@pytest.mark.parametrize(("average", "count"), [(0, 200), (100, 200), (MIB / 50, 50), (MIB, 1), (9 * MIB, 1)])
def test_a_page_is_about_a_mebibyte(average: float, count: int) -> None:
    assert fitting(average) == count


async def test_what_a_search_finds_has_a_size(storage: WatchedStorage) -> None:
    await put_session(storage, 12, 2 * MIB)
    found = await Sessions(storage).find("s", "word", "", 1000)
    assert [item.number for item in found] == [12, 11, 10]
    assert sum(storage.scanned) <= 9 * MIB


async def test_one_item_is_found_however_large_it_is(storage: WatchedStorage) -> None:
    await put_session(storage, 1, 9 * MIB)
    assert len(await Sessions(storage).find("s", "word", "", 10)) == 1


async def test_a_context_of_large_items_is_not_read_as_a_whole(storage: WatchedStorage) -> None:
    await put_session(storage, 20, 2 * MIB)
    session = await Sessions(storage).context("s")
    assert ([item.number for item in session.items], session.item_count) == ([20], 20)
    assert sum(storage.scanned) <= 9 * MIB


async def test_what_is_read_of_a_session_has_a_size_and_the_rest_is_read_next(storage: WatchedStorage) -> None:
    await put_session(storage, 12, 2 * MIB)
    found = [item.number for item in await Sessions(storage).items("s", 0, 1000)]
    assert found == [1, 2, 3]
    assert [item.number for item in (await Sessions(storage).read("s", 3, 1000)).items] == [4, 5, 6]


async def test_a_session_of_small_items_is_read_in_one_round(storage: WatchedStorage) -> None:
    await put_session(storage, 100, 1000)
    assert len((await Sessions(storage).context("s")).items) == 100
    assert len(storage.scanned) == 1
