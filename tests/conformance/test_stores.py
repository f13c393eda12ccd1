"""Runs the conformance kit on the built-in stores, and shows what the default one answers to files it cannot use."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hundredfold.errors import StoreUnavailable
from hundredfold.stores.contract import Batch, Store, Write
from hundredfold.stores.memory import MemoryStore
from hundredfold.stores.redis import open_redis
from hundredfold.stores.sqlite import SqliteStore
from hundredfold.testing.store import StoreConformance
from servers.redis import RedisServer


class TestMemoryStore(StoreConformance):
    def open(self, directory: Path) -> Store:  # noqa: ARG002  # it is in memory
        return MemoryStore()


class TestSqliteStore(StoreConformance):
    def open(self, directory: Path) -> Store:
        return SqliteStore(directory / "state.db")


class TestRedisStore(StoreConformance):
    @pytest.fixture(autouse=True)
    def _server(self, redis: RedisServer, tmp_path: Path) -> None:
        # The directory has to say it, because a child that opens the store has no fixtures.
        (tmp_path / "url").write_text(redis.url(namespace=tmp_path.name))

    def open(self, directory: Path) -> Store:
        return open_redis((directory / "url").read_text())


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="missing"):
        SqliteStore(tmp_path / "missing" / "state.db")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"something else altogether" * 100)
    with pytest.raises(StoreUnavailable, match="NotADB"):
        SqliteStore(path)
    assert path.read_bytes() == b"something else altogether" * 100


def test_a_second_opener_is_kept_out(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with closing(SqliteStore(path)) as first:
        with pytest.raises(StoreUnavailable, match="Busy"):
            SqliteStore(path)
        first.commit([Batch([Write(b"k", b"still writable")])])
    with closing(SqliteStore(path)) as second:
        assert second.get([b"k"])[0] is not None


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    store.close()
    with pytest.raises(StoreUnavailable):
        store.get([b"k"])
    with pytest.raises(StoreUnavailable):
        store.scan(b"")
    with pytest.raises(StoreUnavailable):
        store.commit([])


def test_a_commit_that_fails_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    def batches() -> Iterator[Batch]:
        yield Batch([Write(b"k", b"1")])
        raise LookupError

    with closing(SqliteStore(tmp_path / "state.db")) as store:
        with pytest.raises(LookupError):
            store.commit(batches())
        assert store.scan(b"") == []


def test_large_values_do_not_slow_down_the_small_ones(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "state.db")) as store:
        keys = [b"k%03d" % number for number in range(200)]
        store.commit([Batch([Write(key, b"small") for key in keys])])

        def seconds() -> float:
            began = time.perf_counter()
            for key in keys:
                store.get([key])
            return time.perf_counter() - began

        before = min(seconds() for _ in range(5))
        store.commit([Batch([Write(b"k%03d/large" % number, bytes(4 << 20)) for number in range(0, 200, 8)])])
        assert min(seconds() for _ in range(5)) < 5 * before, "it was two hundred times as long when they shared pages"
