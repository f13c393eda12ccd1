"""Shows what a behaviour reads of a session that is too long to come along whole."""

import asyncio
import threading

import pytest
from hundredfold.session import AsyncSession, Item, Session


class Reader:
    """Has a session of `count` items; gives out three at a time."""

    def __init__(self, count: int) -> None:
        self.all = [Item("user" if number % 2 else "agent", number, number=number) for number in range(1, count + 1)]
        self.asked: list[int] = []

    def read_items(self, after: int, limit: int) -> list[Item]:
        self.asked.append(after)
        return self.all[after : after + min(3, limit)]

    def find_items(self, query: str, limit: int, role: str) -> list[Item]:
        return [item for item in self.all[::-1] if role in ("", item.role) and str(item.content) == query][:limit]


def long(reader: Reader, came_along: int) -> Session:
    count = len(reader.all)
    return Session("s", items=reader.all[count - came_along :], item_count=count, reader=reader)


def test_earlier_items_are_read_when_they_are_asked_for() -> None:
    reader = Reader(10)
    session = long(reader, 4)
    assert reader.asked == []
    assert session.items() == reader.all
    assert reader.asked == [0, 3]
    assert session.items() == reader.all
    assert reader.asked == [0, 3], "once is enough"


def test_the_newest_ones_are_at_hand() -> None:
    reader = Reader(10)
    session = long(reader, 4)
    session.append("agent", "new")
    assert [item.content for item in session.items(last=3)] == [9, 10, "new"]
    assert session.items(last=0) == []
    assert reader.asked == []
    assert len(session.items(last=9)) == 9
    assert reader.asked == [0, 3]


def test_of_one_role_all_are_looked_at() -> None:
    session = long(Reader(10), 2)
    assert [item.content for item in session.items("agent", last=3)] == [6, 8, 10]


def test_what_is_not_there_any_more_is_not_waited_for() -> None:
    reader = Reader(10)
    session = long(reader, 4)
    reader.all.clear()
    assert len(session.items()) == 4


def test_what_is_searched_for_is_looked_for_where_all_of_it_is() -> None:
    assert [item.number for item in long(Reader(10), 1).search("2")] == [2]
    assert long(Reader(10), 1).search("2", role="user") == []
    assert Session("s").search("2") == []


async def test_an_async_behaviour_awaits_it() -> None:
    reader = Reader(3)
    session = AsyncSession("s", item_count=3, reader=reader)
    assert [item.number for item in await session.search("2")] == [2]


def test_metadata_is_kept_as_it_was() -> None:
    session, metadata = Session("s"), {"source": ["web"]}
    session.append("tool", "text", metadata)
    metadata["source"].append("changed")
    assert session.appended[0].metadata == {"source": ["web"]}
    with pytest.raises(TypeError):
        session.append("tool", "text", {"a": object()})


async def test_an_async_behaviour_reads_earlier_items_without_stopping_the_others() -> None:
    answered = threading.Event()

    class SlowReader(Reader):
        def read_items(self, after: int, limit: int) -> list[Item]:
            assert answered.wait(10)
            return super().read_items(after, limit)

    reader = SlowReader(10)
    session = AsyncSession("s", items=reader.all[6:], item_count=10, reader=reader)
    assert [item.number for item in await session.items(last=2)] == [9, 10], "which is at hand"
    both = asyncio.gather(session.items(), session.items("user"))
    await asyncio.sleep(0)
    session.append("agent", "new")
    answered.set()  # only a loop that is not blocked comes here
    everything, said = await both
    assert [item.content for item in everything] == [*range(1, 11), "new"]
    assert [item.content for item in said] == [1, 3, 5, 7, 9]
    assert reader.asked == [0, 3], "once is enough for both"
