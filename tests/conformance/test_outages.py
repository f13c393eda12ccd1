"""Runs the kit for a store in trouble on the built-in stores, and shows that each of its checks finds a bug."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import redis as driver
from hundredfold.errors import HundredfoldError, StoreFull, StoreUnreachable
from hundredfold.stores.contract import Batch, Committed, Conflict, Guard, Store, Write
from hundredfold.stores.memory import MemoryStore
from hundredfold.stores.postgresql import open_store
from hundredfold.stores.redis import open_redis
from hundredfold.stores.sqlite import SqliteStore
from hundredfold.testing.outage import OutageConformance
from servers.postgresql import PostgresqlServer
from servers.redis import RedisServer


class TestSqliteStore(OutageConformance):
    """It is no server: no answer of it can be lost."""

    def open(self, directory: Path) -> Store:
        return SqliteStore(directory / "state.db")

    @contextmanager
    def without_room(self, store: Store) -> Iterator[None]:
        connection = vars(store)["_connection"]
        connection.execute("PRAGMA max_page_count = 1").fetchall()  # no less than it has
        yield
        connection.execute("PRAGMA max_page_count = 1000000").fetchall()


class TestPostgresqlStore(OutageConformance):
    @pytest.fixture(autouse=True)
    def _database(self, postgresql: PostgresqlServer, tmp_path: Path) -> None:
        (tmp_path / "url").write_text(postgresql.new_database())

    def open(self, directory: Path) -> Store:
        return open_store((directory / "url").read_text())

    @contextmanager
    def losing_an_answer(self, store: Store) -> Iterator[None]:
        line = vars(store)["_line"]
        ask = line.ask

        def lose(*asked: Any) -> None:
            ask(*asked)
            line._drop()
            raise StoreUnreachable(store.url, "the answer is lost", 1)

        line.ask = lose
        yield
        line.ask = ask


class TestRedisStore(OutageConformance):
    @pytest.fixture(autouse=True)
    def _server(self, redis: RedisServer, tmp_path: Path) -> None:
        (tmp_path / "url").write_text(redis.url(namespace=tmp_path.name))

    def open(self, directory: Path) -> Store:
        return open_redis((directory / "url").read_text())

    @contextmanager
    def losing_an_answer(self, store: Store) -> Iterator[None]:
        link = vars(store)["_link"]
        exchange = link._exchange

        def lose(*command: Any) -> None:
            exchange(*command)
            raise driver.ConnectionError("the answer is lost")

        link._exchange = lose
        yield
        link._exchange = exchange

    @contextmanager
    def without_room(self, store: Store) -> Iterator[None]:
        link = vars(store)["_link"]
        link.call("CONFIG", "SET", "maxmemory", "1")
        yield
        link.call("CONFIG", "SET", "maxmemory", "0")


class Troubled(MemoryStore):
    """A store whose answers are lost, and which has no room, when it is told so."""

    loses = full = False
    unanswered: list[Batch] | None = None
    answer: list[Committed | Conflict]

    def commit(self, batches: Iterable[Batch], guard: Guard | None = None) -> list[Committed | Conflict]:
        batches = list(batches)
        if self.full:
            raise StoreFull(1)
        if self.unanswered != batches:
            self.answer = super().commit(batches, guard)
        self.unanswered = batches if self.loses else None
        if self.loses:
            raise StoreUnreachable("troubled:", "the answer is lost", 1)
        return self.answer


class TestTroubledStore(OutageConformance):
    made: type[Troubled] = Troubled

    def open(self, directory: Path) -> Store:  # noqa: ARG002  # it is in memory
        return self.made()

    @contextmanager
    def losing_an_answer(self, store: Any) -> Iterator[None]:
        store.loses = True
        yield
        store.loses = False

    @contextmanager
    def without_room(self, store: Any) -> Iterator[None]:
        store.full = True
        yield
        store.full = False


class MakesItTwice(Troubled):
    def commit(self, batches: Iterable[Batch], guard: Guard | None = None) -> list[Committed | Conflict]:
        self.unanswered = None
        return super().commit(batches, guard)


class TakesTheSameForARepetition(Troubled):
    def commit(self, batches: Iterable[Batch], guard: Guard | None = None) -> list[Committed | Conflict]:
        batches = list(batches)
        try:
            return super().commit(batches, guard)
        finally:
            self.unanswered = batches


class WritesWhatFits(Troubled):
    def commit(self, batches: Iterable[Batch], guard: Guard | None = None) -> list[Committed | Conflict]:
        batches = list(batches)
        if self.full:
            MemoryStore.commit(self, [Batch([Write(b"small", b"s")])])
        return super().commit(batches, guard)


class SaysNothingOfIt(Troubled):
    def commit(self, batches: Iterable[Batch], guard: Guard | None = None) -> list[Committed | Conflict]:
        return [] if self.full else super().commit(batches, guard)


KIT: Final = OutageConformance
BUGS: Final[list[tuple[type[Troubled], Callable[[Any, Store], None]]]] = [
    (MakesItTwice, KIT.test_a_commit_whose_answer_is_lost_is_made_once),
    (MakesItTwice, KIT.test_a_repetition_writes_nothing),
    (TakesTheSameForARepetition, KIT.test_the_same_again_is_no_repetition),
    (WritesWhatFits, KIT.test_what_finds_no_room_writes_nothing_and_can_be_tried_again),
    (SaysNothingOfIt, KIT.test_what_finds_no_room_writes_nothing_and_can_be_tried_again),
]


@pytest.mark.parametrize(("broken", "check"), BUGS, ids=lambda value: value.__name__)
def test_the_kit_finds_the_bug(broken: type[Troubled], check: Callable[[Any, Store], None]) -> None:
    kit = TestTroubledStore()
    kit.made = broken
    with closing(kit.open(Path())) as store, pytest.raises((AssertionError, HundredfoldError)):
        check(kit, store)


def test_every_check_is_seen_to_fail() -> None:
    assert {check for name, check in vars(KIT).items() if name.startswith("test_")} == {check for _, check in BUGS}
