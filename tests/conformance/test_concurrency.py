"""Runs the conformance kit for several callers on the built-in stores; each of its checks is seen to find a bug."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from hundredfold.errors import HundredfoldError, StoreUnreachable
from hundredfold.stores.contract import (
    ABSENT,
    ANY,
    Batch,
    Capabilities,
    Committed,
    Conflict,
    Entry,
    Guard,
    Record,
    Store,
)
from hundredfold.stores.memory import MemoryStore
from hundredfold.stores.postgresql import open_store
from hundredfold.stores.redis import open_redis
from hundredfold.stores.sqlite import SqliteStore
from hundredfold.testing.concurrency import ConcurrentStoreConformance
from servers.postgresql import PostgresqlServer
from servers.redis import RedisServer

Results = list[Committed | Conflict]
Check = Callable[..., None]


class Server:
    """What openers share: a store, for one call at a time."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.lock = threading.Lock()


@cache
def server(directory: Path) -> Server:  # noqa: ARG001  # one for each
    return Server()


class SharedStore:
    """An opener of a server."""

    url = "shared:"
    capabilities = Capabilities(durable=False, shared=True)

    def __init__(self, server: Server) -> None:
        self._server = server

    def get(self, keys: Sequence[bytes]) -> list[Record | None]:
        with self._server.lock:
            return self._server.store.get(keys)

    def scan(self, prefix: bytes, *, after: bytes = b"", limit: int = 1000, reverse: bool = False) -> list[Entry]:
        with self._server.lock:
            return self._server.store.scan(prefix, after=after, limit=limit, reverse=reverse)

    def commit(self, batches: Iterable[Batch], guard: Guard | None = None) -> Results:
        time.sleep(0.0002)
        with self._server.lock:
            return self._server.store.commit(batches, guard)

    def close(self) -> None:
        pass


class TestMemoryStore(ConcurrentStoreConformance):
    def open(self, directory: Path) -> Store:  # noqa: ARG002  # it is in memory
        return MemoryStore()


class TestSqliteStore(ConcurrentStoreConformance):
    def open(self, directory: Path) -> Store:
        return SqliteStore(directory / "state.db")


class TestPostgresqlStore(ConcurrentStoreConformance):
    @pytest.fixture(autouse=True)
    def _database(self, postgresql: PostgresqlServer, tmp_path: Path) -> None:
        (tmp_path / "url").write_text(postgresql.new_database())

    def open(self, directory: Path) -> Store:
        return open_store((directory / "url").read_text())


class TestRedisStore(ConcurrentStoreConformance):
    @pytest.fixture(autouse=True)
    def _server(self, redis: RedisServer, tmp_path: Path) -> None:
        self.url = redis.url(namespace=tmp_path.name)

    def open(self, directory: Path) -> Store:  # noqa: ARG002  # the server knows where
        return open_redis(self.url)


class TestSharedStore(ConcurrentStoreConformance):
    kind: type[SharedStore] = SharedStore

    def open(self, directory: Path) -> Store:
        return self.kind(server(directory))


# One store for each bug -----------------------------------------------------------------------------------------------


class LosesAnswers(SharedStore):
    """No bug: what is lost may have been written or not."""

    calls = 0

    def commit(self, batches: Iterable[Batch], guard: Guard | None = None) -> Results:
        self.calls += 1
        if self.calls % 7 == 3:
            raise StoreUnreachable(self.url, "no route", 1)
        results = super().commit(batches, guard)
        if self.calls % 7 == 0:
            raise StoreUnreachable(self.url, "time-out", 1)
        return results


class ReadsFromACopy(SharedStore):
    """As a replica that is behind."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._copy: dict[bytes, Record | None] = {}
        self._reads = 0

    def get(self, keys: Sequence[bytes]) -> list[Record | None]:
        self._reads += 1
        if self._reads % 5:
            self._copy |= dict(zip(keys, super().get(keys), strict=True))
        return [self._copy.get(key) for key in keys]


class LooksBeforeItLocks(SharedStore):
    def commit(self, batches: Iterable[Batch], guard: Guard | None = None) -> Results:
        batches = list(batches)
        writes = [write for batch in batches for write in batch.writes]
        for write, record in zip(writes, self.get([write.key for write in writes]), strict=True):
            if write.expects not in (ANY, record.version if record else ABSENT):
                return [Conflict(write.key)]
        time.sleep(0.001)
        free = [Batch([type(write)(write.key, write.value) for write in batch.writes]) for batch in batches]
        return super().commit(free, guard)


class RepeatsItself(SharedStore):
    """As a client that tries again what had been written, a while later."""

    late: tuple[Batch, ...] = ()
    calls = 0

    def commit(self, batches: Iterable[Batch], guard: Guard | None = None) -> Results:
        batches = tuple(batches)
        self.calls += 1
        if self.calls % 10 == 9:
            with self._server.lock:
                self._server.store.commit(Batch([type(w)(w.key, w.value) for w in b.writes]) for b in self.late)
        self.late = batches
        return super().commit(batches, guard)


class LooksAtTheGuardFirst(SharedStore):
    def commit(self, batches: Iterable[Batch], guard: Guard | None = None) -> Results:
        if guard:
            super().commit([], guard)
            time.sleep(0.02)
        return super().commit(batches)


class WritesAndThenLooksAtTheGuard(SharedStore):
    def commit(self, batches: Iterable[Batch], guard: Guard | None = None) -> Results:
        results = super().commit(batches)
        super().commit([], guard)
        return results


_TRIES: Final = 5
KIT: Final = ConcurrentStoreConformance
BUGS: Final[list[tuple[type[SharedStore], Check]]] = [
    (ReadsFromACopy, KIT.test_calls_can_be_put_in_one_order),
    (RepeatsItself, KIT.test_calls_can_be_put_in_one_order),
    (LooksBeforeItLocks, KIT.test_no_update_is_lost),
    (LooksBeforeItLocks, KIT.test_one_of_two_takes_the_guard),
    (LooksAtTheGuardFirst, KIT.test_who_lost_the_guard_writes_nothing),
    (WritesAndThenLooksAtTheGuard, KIT.test_who_lost_the_guard_writes_nothing),
]


@pytest.mark.parametrize(("broken", "check"), BUGS, ids=lambda value: value.__name__)
def test_the_kit_finds_the_bug(broken: type[SharedStore], check: Check, tmp_path: Path) -> None:
    # A race shows itself often, and not each time.
    assert any(failure(broken, check, tmp_path / str(number)) for number in range(_TRIES))


def test_every_check_is_seen_to_fail() -> None:
    checks = {check for name, check in vars(KIT).items() if name.startswith("test_")}
    assert checks == {check for _, check in BUGS}


def test_answers_that_are_lost_are_no_bug(tmp_path: Path) -> None:
    assert not failure(LosesAnswers, KIT.test_calls_can_be_put_in_one_order, tmp_path)


def failure(kind: type[SharedStore], check: Check, directory: Path) -> str:
    kit = TestSharedStore()
    kit.kind = kind
    try:
        check(kit, directory)
    except (AssertionError, HundredfoldError) as error:
        return str(error)
    return ""
