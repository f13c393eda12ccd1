"""Shows that the index of vectors keeps up with its store after every kind of end, and that nobody waits for it."""

import logging
import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from hundredfold.errors import IndexUnavailable, StoreUnavailable
from hundredfold.stores import sqlite_changes, sqlite_index, sqlite_shard
from hundredfold.stores.contract import Batch, Write
from hundredfold.stores.search import Distance, Embedding, Hit
from hundredfold.stores.sqlite import SqliteStore, accept_loss
from hundredfold.stores.sqlite_index import index_paths

ONE = array("f", [1, 0]).tobytes()


def extract(value: bytes) -> Embedding:
    return Embedding("c", Distance.EUCLIDEAN, value)


def opened(path: Path) -> SqliteStore:
    store = SqliteStore(path)
    store.index(b"v/", extract)
    return store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with closing(opened(path)) as store:
        yield store


def put(store: SqliteStore, *names: str) -> None:
    store.commit([Batch([Write(f"v/{name}".encode(), ONE) for name in names])])


def drop(store: SqliteStore, *names: str) -> None:
    store.commit([Batch([Write(f"v/{name}".encode(), None) for name in names])])


def found(store: SqliteStore) -> set[str]:
    return {hit.key.decode().removeprefix("v/") for hit in store.search("c", ONE, 100)}


def noted(store: SqliteStore) -> int:
    rows: list[tuple[int]] = store._connection.execute("SELECT count(*) FROM change").fetchall()
    return rows[0][0]


def applied(store: SqliteStore) -> list[int]:
    assert store._index
    return [shard._file.version for shard in store._index._shards]


def test_nothing_is_noted_nor_made_before_it_is_needed(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        put(store, "a")
        assert "indexed" not in {name for (name,) in store._connection.execute("SELECT name FROM sqlite_schema")}
        drop(store, "a")
        store.index(b"v/", extract)
        store.commit([Batch([Write(b"other", b"x")])])
        assert noted(store) == 0
    assert not any(one.exists() for one in index_paths(path))


def test_what_was_there_is_found(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        put(store, *(f"{number}" for number in range(90)))
        store.index(b"v/", extract)
        assert len(found(store)) == 90


def test_its_files_are_private(store: SqliteStore, path: Path) -> None:
    put(store, "a")
    assert found(store) == {"a"}
    files = [one for one in path.parent.iterdir() if "vectors" in one.name]
    assert {one.stat().st_mode & 0o777 for one in files} == {0o600}


def test_a_crash_costs_nothing_that_was_committed(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(opened(path)) as store:
        put(store, "a", "b", "c")
        assert found(store) == {"a", "b", "c"}
    with closing(SqliteStore(path)) as store:  # an index that is not told is what a crash right after a commit leaves
        put(store, "d")
        drop(store, "b")
        assert noted(store) > 0
    with caplog.at_level(logging.INFO), closing(opened(path)) as store:
        assert found(store) == {"a", "c", "d"}
    assert caplog.text == "", "it was made anew"


def test_a_commit_that_fails_notes_nothing(store: SqliteStore) -> None:
    def batches() -> Iterator[Batch]:
        yield Batch([Write(b"v/a", ONE)])
        raise LookupError

    with pytest.raises(LookupError):
        store.commit(batches())
    assert noted(store) == 0
    assert found(store) == set()


@pytest.mark.parametrize("rest", [b"\0", b"\xa5", b""], ids=["zeros", "rubbish", "cut"])
@pytest.mark.parametrize("where", [0, 100, 40_000])
def test_a_damaged_file_is_made_anew(path: Path, rest: bytes, where: int, caplog: pytest.LogCaptureFixture) -> None:
    with closing(opened(path)) as store:
        put(store, *(f"{number}" for number in range(50)))
    first = index_paths(path)[0]
    content = first.read_bytes()
    first.write_bytes(content[:where] + rest * (len(content) - where))
    with caplog.at_level(logging.INFO), closing(opened(path)) as store:
        assert len(found(store)) == 50
    assert "making the index" in caplog.text


def test_a_missing_file_is_made_anew(path: Path) -> None:
    with closing(opened(path)) as store:
        put(store, *(f"{number}" for number in range(50)))
    index_paths(path)[1].unlink()
    with closing(opened(path)) as store:
        assert len(found(store)) == 50


def test_the_files_of_another_store_are_not_taken(path: Path) -> None:
    with closing(opened(path)) as store:
        put(store, "a")
        assert found(store) == {"a"}
    for one in set(path.parent.glob("state.db*")) - set(index_paths(path)):
        one.unlink()
    with closing(opened(path)) as store:
        put(store, "b")
        assert found(store) == {"b"}


def test_stores_whose_names_differ_by_a_suffix_have_files_of_their_own(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "prod.v1")) as first, closing(opened(tmp_path / "prod.v2")) as second:
        put(first, "a")
        put(second, "b")
        assert (found(first), found(second)) == ({"a"}, {"b"})


def test_another_prefix_is_another_index(path: Path) -> None:
    with closing(opened(path)) as store:
        put(store, "a")
    with closing(SqliteStore(path)) as store:
        store.commit([Batch([Write(b"w/b", ONE)])])
        store.index(b"w/", extract)
        assert {hit.key for hit in store.search("c", ONE, 10)} == {b"w/b"}


def test_a_backup_does_without(path: Path, tmp_path: Path) -> None:
    with closing(opened(path)) as store:
        put(store, "a")
        for _ in store.back_up(tmp_path / "copy.db"):
            pass
        put(store, "b")
    with closing(opened(tmp_path / "copy.db")) as copy:
        assert found(copy) == {"a"}


def test_a_restored_backup_is_indexed_anew(path: Path, tmp_path: Path) -> None:
    with closing(opened(path)) as store:
        put(store, "a", "b")
        for _ in store.back_up(tmp_path / "copy.db"):
            pass
        drop(store, "a")
        put(store, "c")
    (tmp_path / "copy.db").rename(path)
    assert accept_loss(path) > 0
    with closing(opened(path)) as store:
        assert found(store) == {"a", "b"}


def test_an_index_that_is_ahead_is_made_anew(path: Path, tmp_path: Path) -> None:
    with closing(opened(path)) as store:
        put(store, "a")
        for _ in store.back_up(tmp_path / "copy.db"):
            pass
        put(store, "b")
        assert found(store) == {"a", "b"}
    (tmp_path / "copy.db").rename(path)
    path.with_name("state.db-mark").unlink()
    with closing(opened(path)) as store:
        assert found(store) == {"a"}


def test_changes_that_the_index_has_are_forgotten(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_changes, "_SOME", 5)
    for _ in range(3):
        with closing(opened(path)) as store:
            put(store, "a", "b")
            found(store)
    with closing(opened(path)) as store:
        put(store, "a")
        assert noted(store) <= 3
    with closing(opened(path)) as store:
        assert found(store) == {"a", "b"}


def test_changes_are_not_noted_without_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_changes, "_SOME", 5)
    monkeypatch.setattr(sqlite_changes, "_MOST", 10)
    with closing(opened(path)) as store:
        put(store, "a")
        assert found(store) == {"a"}
    with closing(SqliteStore(path)) as store:
        for number in range(30):
            put(store, f"{number}")
        assert noted(store) < 10
    with closing(opened(path)) as store:
        assert len(found(store)) == 31


def test_a_record_that_nobody_understands_costs_nothing_else(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def picky(value: bytes) -> Embedding:
        if len(value) != 8:
            raise ValueError(value)
        return extract(value)

    with closing(SqliteStore(path)) as store:
        store.index(b"v/", picky)
        store.commit([Batch([Write(b"v/bad", b"?"), Write(b"v/good", ONE)])])
        assert found(store) == {"good"}
    assert "v/bad" in caplog.text


def test_what_finds_no_room_is_tried_again(store: SqliteStore) -> None:
    put(store, *(f"{number}" for number in range(8)))
    assert len(found(store)) == 8
    limit(store, 1)
    wide = array("f", [1] * 20_000).tobytes()
    store.commit([Batch([Write(b"v/wide%d" % number, wide[: 4 * 4096]) for number in range(99)])])
    with pytest.raises(IndexUnavailable, match="full"):
        found(store)
    put(store, "more")
    limit(store, 1 << 30)
    assert "more" in found(store)
    assert len(store.search("c", wide[: 4 * 4096], 100)) == 99


def test_no_room_for_too_much_holds_up_nobody(store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_shard, "_MOST_BYTES", 200_000)
    put(store, *(f"{number}" for number in range(8)))
    assert len(found(store)) == 8
    limit(store, 1)
    wide = bytes(4 * 4096)
    for number in range(100):
        store.commit([Batch([Write(b"v/wide%d" % number, wide)])])
    with pytest.raises(IndexUnavailable, match="lacks room"):
        found(store)
    store.close()
    with closing(opened(path)) as again:
        assert len(again.search("c", wide, 1000)) == 100


def limit(store: SqliteStore, pages: int) -> None:
    assert store._index
    for shard in store._index._shards:
        shard._file._connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()


def test_who_brings_too_much_waits(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_shard, "_MOST_BYTES", 100)
    gate = threading.Event()

    def slow(value: bytes) -> Embedding:
        gate.wait()
        return extract(value)

    with closing(SqliteStore(path)) as store:
        store.index(b"v/", slow)
        committing = threading.Thread(target=lambda: [put(store, f"{number}") for number in range(100)])
        committing.start()
        committing.join(0.2)
        assert committing.is_alive()
        gate.set()
        committing.join()
        assert len(found(store)) == 100


def test_a_commit_does_not_wait_for_a_search(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "a", "b")
    found(store)
    gate, inside = threading.Event(), threading.Event()

    def slowly(*_: object) -> list[Hit]:
        inside.set()
        gate.wait()
        return []

    assert store._index
    for shard in store._index._shards:
        monkeypatch.setattr(shard._file, "nearest", slowly)
    searching = threading.Thread(target=found, args=(store,))
    searching.start()
    inside.wait()
    put(store, "c")
    assert store.get([b"v/c"])[0]
    gate.set()
    searching.join()


def test_closing_ends_the_threads_and_whoever_still_searches(path: Path) -> None:
    store = opened(path)
    put(store, "a")
    found(store)
    store.close()
    assert [one for one in threading.enumerate() if one.name == "vectors"] == []
    with pytest.raises(StoreUnavailable, match="closed"):
        found(store)


def test_a_file_that_becomes_unreadable_is_thrown_away(path: Path) -> None:
    with closing(opened(path)) as store:
        put(store, *(f"{number}" for number in range(50)))
        assert len(found(store)) == 50
        assert store._index
        with apsw_free(store) as connection:
            connection.execute("UPDATE vector_2_chunks SET validity = x'00'").fetchall()
        with pytest.raises(IndexUnavailable, match="made anew later"):
            found(store)
        put(store, "later")
    with closing(opened(path)) as store:
        assert len(found(store)) == 51


def test_what_could_not_be_made_is_made_by_a_later_commit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One disk that was full for a moment must not end searches for as long as the store is open."""
    monkeypatch.setattr(sqlite_index, "_AGAIN_SECONDS", 0.0)
    in_the_way = index_paths(path)[0]
    with closing(opened(path)) as store:
        in_the_way.mkdir()
        put(store, "a", "b")
        with pytest.raises(IndexUnavailable, match="cannot be made"):
            found(store)
        drop(store, "a")
        in_the_way.rmdir()
        store.commit([Batch([Write(b"other", b"x")])])
        assert found(store) == {"b"}
    with closing(opened(path)) as store:
        assert found(store) == {"b"}


def test_a_file_that_is_lost_is_made_again_bit_by_bit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_index, "_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(sqlite_index, "_PAGE", 10)
    with closing(opened(path)) as store:
        put(store, *(f"{number:03}" for number in range(50)))
        assert len(found(store)) == 50
        with apsw_free(store) as connection:
            connection.execute("UPDATE vector_2_chunks SET validity = x'00'").fetchall()
        with pytest.raises(IndexUnavailable):
            found(store)
        monkeypatch.setattr(sqlite_index, "_BIT_SECONDS", 0.0)
        drop(store, "001", "048")
        with pytest.raises(IndexUnavailable, match="being made"):
            found(store)
        monkeypatch.setattr(sqlite_index, "_BIT_SECONDS", 1.0)
        drop(store, "002")
        assert len(found(store)) == 47
        assert "048" not in found(store)


def test_one_that_cannot_be_made_is_left_alone_for_a_while(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Or every commit would cost what it takes to find that out."""
    with closing(opened(path)) as store:
        index_paths(path)[0].mkdir()
        for number in range(20):
            put(store, f"{number}")
    assert caplog.text.count("cannot be made") <= 3


def apsw_free(store: SqliteStore) -> apsw.Connection:
    assert store._index
    connection = store._index._shards[0]._file._connection
    assert isinstance(connection, apsw.Connection)
    return connection


def test_deleted_places_are_filled(store: SqliteStore) -> None:
    for number in range(400):
        put(store, *(f"{number % 7}-{one}" for one in range(3)))
        if number % 50 == 0:
            drop(store, *(f"{one}-{number % 3}" for one in range(7)))
    deadline = time.monotonic() + 30
    while min(applied(store)) < store._version and time.monotonic() < deadline:
        time.sleep(0.01)
    assert store._index
    for shard in store._index._shards:
        chunks = list(shard._file._connection.execute("SELECT count(*) FROM vector_2_chunks"))
        assert chunks <= [(1,)]
