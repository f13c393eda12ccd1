"""Shows that searches in PostgreSQL find what they should: after every kind of write, with and without a graph."""

import random
import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from hundredfold.errors import Fenced, StoreUnavailable
from hundredfold.stores.contract import ABSENT, Batch, Guard, Write
from hundredfold.stores.memory import MemoryStore
from hundredfold.stores.postgresql import backlog, graph, index, search, server
from hundredfold.stores.postgresql.store import PostgresqlStore
from hundredfold.stores.search import Distance, Embedding, Hit
from hundredfold.testing.coordinator import eventually
from servers.postgresql import PostgresqlServer

PREFIX = b"v/"


def floats(*numbers: float) -> bytes:
    return array("f", numbers).tobytes()


def value(collection: str, vector: bytes, distance: Distance = Distance.COSINE, **metadata: str) -> bytes:
    head = repr((collection, distance.value, metadata)).encode("utf-8", "surrogatepass")
    return len(head).to_bytes(4) + head + vector


def extract(text: bytes) -> Embedding:
    size = int.from_bytes(text[:4])
    collection, distance, metadata = eval(text[4 : 4 + size].decode("utf-8", "surrogatepass"))  # noqa: S307  # our own
    return Embedding(collection, Distance(distance), text[4 + size :], metadata)


@pytest.fixture
def url(postgresql: PostgresqlServer) -> str:
    return postgresql.new_database()


@pytest.fixture
def store(url: str) -> Iterator[PostgresqlStore]:
    with closing(PostgresqlStore(url)) as store:
        store.index(PREFIX, extract)
        yield store


def put(store: PostgresqlStore | MemoryStore, name: str, text: bytes | None, expects: int = -1) -> None:
    store.commit([Batch([Write(PREFIX + name.encode(), text, expects)])])


def names(hits: list[Hit]) -> list[str]:
    return [hit.key.removeprefix(PREFIX).decode() for hit in hits]


def found(store: PostgresqlStore, collection: str = "c", *vector: float) -> list[str]:
    return names(store.search(collection, floats(*(vector or (1, 0))), 10))


@pytest.mark.parametrize("distance", Distance)
def test_it_finds_what_looking_at_everything_finds(store: PostgresqlStore, distance: Distance) -> None:
    memory = MemoryStore()
    memory.index(PREFIX, extract)
    rng = random.Random(1)
    vectors = [floats(*(rng.gauss(0, 3) for _ in range(8))) for _ in range(60)] + [floats(*[0] * 8)]
    for number, vector in enumerate(vectors):
        for one in (store, memory):
            put(one, f"{number:03}", value("c", vector, distance, odd=str(number % 2), tens=str(number // 10)))
    for vector in vectors[-20:]:
        for where in (None, {"odd": "1"}, {"odd": "1", "tens": "3"}, {"odd": "2"}):
            hits, truth = store.search("c", vector, 7, where), memory.search("c", vector, 7, where)
            assert names(hits) == names(truth)
            assert [hit.distance for hit in hits] == pytest.approx([hit.distance for hit in truth], abs=1e-4)


def test_it_keeps_up_with_every_kind_of_write(store: PostgresqlStore) -> None:
    put(store, "a", value("c", floats(1, 0)))
    put(store, "b", value("c", floats(0, 1)))
    assert found(store) == ["a", "b"]
    put(store, "a", value("c", floats(-1, 0)))
    assert found(store) == ["b", "a"]
    put(store, "a", value("other", floats(1, 0)))
    assert (found(store), found(store, "other")) == (["b"], ["a"])
    put(store, "b", value("c", floats(1, 0)), ABSENT)
    assert store.search("c", floats(1, 0), 1)[0].distance == pytest.approx(1), "what conflicts is not written"
    put(store, "b", None)
    assert found(store) == []
    store.commit([Batch([Write(b"outside", value("c", floats(1, 0)))])])
    assert found(store) == []


def test_batches_of_one_commit_that_write_one_key_leave_the_last(store: PostgresqlStore) -> None:
    key, one, two = PREFIX + b"k", value("c", floats(1, 0)), value("c", floats(0, 1))
    store.commit([Batch([Write(key, one)]), Batch([Write(key, None)]), Batch([Write(key, two), Write(key, one)])])
    assert store.search("c", floats(1, 0), 9) == [Hit(key, pytest.approx(0))]
    store.commit([Batch([Write(key, two)]), Batch([Write(key, one, ABSENT)]), Batch([Write(key, None)])])
    assert found(store) == []


def test_what_is_fenced_is_not_found(store: PostgresqlStore) -> None:
    with pytest.raises(Fenced):
        store.commit([Batch([Write(PREFIX + b"k", value("c", floats(1, 0)))])], Guard(b"lease", 7))
    assert found(store) == []


def test_what_was_written_without_an_index_is_made_searchable(url: str) -> None:
    with closing(PostgresqlStore(url)) as store:
        store.index(PREFIX, extract)
        for name in ("changed", "gone", "same"):
            put(store, name, value("c", floats(1, 0)))
    with closing(PostgresqlStore(url)) as store:
        put(store, "changed", value("c", floats(0, 1)))
        put(store, "gone", None)
        store.commit([Batch([Write(PREFIX + b"%d" % n, value("many", floats(n, 1, 1))) for n in range(1200)])])
        store.index(PREFIX, extract)
        assert found(store) == ["same", "changed"]
        assert len(store.search("many", floats(1, 1, 1), 2000)) == 1200
        store.index(b"elsewhere/", extract)
        assert found(store) == []


def test_any_text_names_a_collection_and_its_metadata(store: PostgresqlStore) -> None:
    awkward = ["", "'; DROP TABLE record --", 'a"b', "é", "e\u0301", "a\x00b", "\udc80", "{}", "%s", "x" * 5000]
    for number, text in enumerate(awkward):
        put(store, str(number), value(text, floats(1, 0), **{text: text}))
    for number, text in enumerate(awkward):
        assert names(store.search(text, floats(1, 0), 5, {text: text})) == [str(number)]
        assert store.search(text, floats(1, 0), 5, {text: text + " "}) == []


def test_what_is_no_vector_is_found_by_nobody_and_harms_nobody(store: PostgresqlStore) -> None:
    put(store, "nan", value("c", floats(1, 0)))
    for vector in (floats(float("nan"), 1), floats(float("inf"), 1), b"", floats(*[1] * 16_001)):
        put(store, "nan", value("c", vector))
        assert found(store) == []
    put(store, "tiny", value("c", floats(1e-30, 0)))
    put(store, "large", value("c", floats(3e38, 3e38)))
    assert found(store) == ["tiny", "large"]
    assert found(store, "c", 1, 0, 0) == found(store, "nothing") == []


def test_vectors_of_many_dimensions_are_found(store: PostgresqlStore) -> None:
    for dimension in (2_000, 2_001, 4_001, 16_000):
        put(store, str(dimension), value("c", floats(*[1] * dimension)))
        assert found(store, "c", *[1] * dimension) == [str(dimension)]


@pytest.mark.parametrize(("distance", "dimension"), [*((one, 16) for one in Distance), (Distance.COSINE, 2_001)])
def test_a_large_collection_gets_a_graph(
    url: str, postgresql: PostgresqlServer, monkeypatch: pytest.MonkeyPatch, distance: Distance, dimension: int
) -> None:
    monkeypatch.setattr(search, "_FEW", 0)
    monkeypatch.setattr(search, "_FEW_NARROWED", 30)
    monkeypatch.setattr(graph, "_LOOK_EVERY", 1)
    monkeypatch.setattr(graph, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(graph, "_LARGE", 300)
    rng = random.Random(2)
    vectors = [floats(*(rng.gauss(0, 1) for _ in range(dimension))) for _ in range(400)]
    with closing(PostgresqlStore(url)) as store:
        store.index(PREFIX, extract)
        batches = [
            Batch([Write(PREFIX + b"%d" % n, value("c", v, distance, tenth=str(n % 10), one=str(n % 200)))])
            for n, v in enumerate(vectors)
        ]
        store.commit(batches)
        graphs = "SELECT i.indisvalid FROM pg_index i WHERE i.indexrelid::regclass::text LIKE '%embedding_graph_%'"
        eventually(lambda: postgresql.execute(graphs, url) == [(True,)], what="the graph")
        for n, vector in enumerate(vectors[:20]):
            for where, limit in ((None, 10), ({"tenth": str(n % 10)}, 10), ({"one": str(n % 200)}, 2)):
                hits = store.search("c", vector, limit, where)
                assert len(hits) == limit
                assert distance == Distance.DOT or names(hits)[0] == str(n)
        used = "SELECT idx_scan > 0 FROM pg_stat_user_indexes WHERE indexrelname LIKE 'embedding_graph_%'"
        store.close()
        eventually(lambda: postgresql.execute(used, url) == [(True,)], what="the use of the graph")


def test_searches_and_commits_do_not_wait_for_each_other(store: PostgresqlStore) -> None:
    put(store, "k", value("c", floats(1, 0)))
    searched: list[list[str]] = []
    thread = threading.Thread(target=lambda: searched.extend(found(store) for _ in range(100)))
    thread.start()
    for number in range(100):
        put(store, "k", value("c", floats(1, number)))
    thread.join()
    assert searched == [["k"]] * 100


def test_a_repeated_commit_changes_nothing_that_is_found(store: PostgresqlStore) -> None:
    put(store, "k", value("c", floats(1, 0)))
    store._number -= 1
    put(store, "k", value("c", floats(0, 1)))
    assert store.search("c", floats(1, 0), 1)[0].distance == pytest.approx(0)


def test_a_database_without_pgvector_says_that_it_cannot_search(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_OLDEST_PGVECTOR", (99, 0))
    with closing(PostgresqlStore(url)) as store:
        assert not store.capabilities.vectors
        put(store, "k", b"v")
        with pytest.raises(StoreUnavailable, match="CREATE EXTENSION vector"):
            store.index(PREFIX, extract)


def test_what_cannot_be_read_for_a_vector_is_still_written(store: PostgresqlStore) -> None:
    put(store, "k", value("c", floats(1, 0)))
    put(store, "k", b"")
    assert found(store) == []
    assert store.get([PREFIX + b"k"])[0] is not None


def test_a_large_commit_does_not_wait_for_its_embeddings_but_a_search_does(store: PostgresqlStore, url: str) -> None:
    """Seen red: a commit of a thousand into a graph took seconds, in which nothing else could be committed."""
    put(store, "first", value("c", floats(0, 1)))
    hits: list[Hit] = []
    with psycopg.connect(url) as other, other.transaction():
        other.execute("LOCK TABLE hundredfold.embedding IN EXCLUSIVE MODE")
        writes = [Write(PREFIX + b"%d" % number, value("c", floats(1, number))) for number in range(100)]
        began = time.monotonic()
        store.commit([Batch(writes), Batch([Write(PREFIX + b"first", value("c", floats(5, 5)), ABSENT)])])
        assert time.monotonic() - began < 3
        searching = threading.Thread(target=lambda: hits.extend(store.search("c", floats(1, 0), 1000)))
        searching.start()
        searching.join(0.5)
        assert searching.is_alive()
    searching.join(20)
    assert len(hits) == 101


def test_what_is_still_on_its_way_at_the_end_is_written_by_the_next_start(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_STEP", 7)
    monkeypatch.setattr(index, "_PAGE", 3)
    with closing(PostgresqlStore(url)) as store:
        store.index(PREFIX, extract)
        with monkeypatch.context() as lost:
            lost.setattr(backlog.Backlog, "add", lambda *_: None)
            store.commit(
                [Batch([Write(PREFIX + b"%02d" % number, value("c", floats(1, number)))]) for number in range(40)]
            )
        assert store.search("c", floats(1, 0), 100) == []
        put(store, "13", value("c", floats(0, 1)))
    with closing(PostgresqlStore(url)) as store:
        store.index(PREFIX, extract)
        assert len(store.search("c", floats(1, 0), 100)) == 40


def test_all_is_looked_at_in_small_steps_at_the_start(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One statement over millions answers too late, and so does its repetition: seen red."""
    monkeypatch.setattr(index, "_STEP", 10)
    with closing(PostgresqlStore(url)) as store:
        store.index(PREFIX, extract)
        for prefix in (b"u/", PREFIX, b"w/"):
            text = value("c", floats(1, 0))
            store.commit([Batch([Write(prefix + b"%03d" % number, text)]) for number in range(35)])
    with closing(PostgresqlStore(url)) as store:
        asked: list[int] = []
        ask = store._line.ask

        def counted(*arguments: object) -> list[tuple[object, ...]]:
            rows = ask(*arguments)  # type: ignore[arg-type]  # passed on
            asked.append(len(rows))
            return rows

        monkeypatch.setattr(store._line, "ask", counted)
        store.index(b"w/", extract)
        assert len(store.search("c", floats(1, 0), 100)) == 35
        assert max(asked) <= 11
        assert len(asked) > 12
