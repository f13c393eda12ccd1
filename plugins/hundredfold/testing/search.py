"""The conformance kit for searching: every rule of `hundredfold.stores.search`, as tests that a backend inherits.

    class TestMyStoreSearches(SearchConformance):
        def open(self, directory: Path) -> Store:
            return MyStore(directory / "x.db")

It compares with everything there is, in plain Python. It does not cover how long anything takes, nor a server that is
away.
"""

import math
import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, Protocol, cast

import pytest

from hundredfold.stores.contract import ABSENT, Batch, Conflict, Store, Write
from hundredfold.stores.search import Distance, Embedding, Hit, Searching
from hundredfold.testing.embeddings import apart, crowd, extract, keyed, nearest, packed, random_vectors, some, write
from hundredfold.testing.rules import same as _same
from hundredfold.testing.rules import true as _true

_PREFIX: Final = b"v/"
_WANTED: Final = 10
_RECALL: Final = 0.95
_NEAR_ENOUGH: Final = 1e-4

_TEXTS: Final = [
    *("", " ", "a", "A", "a ", "ab", "'", '"', "%", "_", "\\", "\n", "a\x00", "a\x00b", "x" * 500),
    *("é", "e\u0301", "日本", "🦜", "ß", "ss", "İ", "null", "1", "1.0", "true", '"1"', "[]", '{"a": 1}'),
]
"""Texts that a database would confuse, refuse or fold into each other."""


class SearchingStore(Store, Searching, Protocol):
    """What is tested."""


class SearchConformance:
    """Tests of one store. Subclass it at the top level of a test file, with a name that begins with `Test`."""

    def open(self, directory: Path) -> Store:
        """Open the store in `directory`, or make it. If it is durable, the same directory means the same store."""
        raise NotImplementedError

    @pytest.fixture
    def fresh(self, tmp_path: Path) -> Iterator[SearchingStore]:
        """Yield a new store that is not told yet what to search."""
        with closing(self.open(tmp_path)) as store:
            yield cast("SearchingStore", store)

    @pytest.fixture
    def store(self, fresh: SearchingStore) -> SearchingStore:
        """Return a new store that is."""
        fresh.index(_PREFIX, extract)
        return fresh

    @contextmanager
    def _open_durable(self, directory: Path) -> Iterator[SearchingStore]:
        with closing(self.open(directory)) as store:
            if not store.capabilities.durable:
                pytest.skip("the store does not declare `durable`")
            yield cast("SearchingStore", store)

    def test_it_says_that_it_can_search(self, fresh: SearchingStore) -> None:
        """It declares `vectors`, and has the methods."""
        _true(fresh.capabilities.vectors, "a store that can search must declare `vectors`, or nobody asks it")
        _true(isinstance(fresh, Searching), "a store that declares `vectors` must have `index` and `search`")

    def test_the_nearest_are_found(self, store: SearchingStore) -> None:
        """Those and no others, by each distance; vectors have all lengths, so that each has others."""
        for distance in Distance:
            records = some(distance.value, distance, 60)
            _put(store, records)
            for wanted in random_vectors(5, 8, distance.value):
                found = store.search(distance.value, wanted, 7)[:7]
                _same({hit.key for hit in found}, set(nearest(records, wanted, 7)), f"the nearest by {distance.value}")

    def test_the_nearest_come_first(self, store: SearchingStore) -> None:
        """In the order of their distance."""
        records = some("c", Distance.EUCLIDEAN, 60)
        _put(store, records)
        (wanted,) = random_vectors(1, 8, "wanted")
        found = [hit.key for hit in store.search("c", wanted, 60)]
        far = [apart(records[key], wanted) for key in found]
        _same(far, sorted(far), "hits must be in the order of their distance, the nearest first")

    def test_distances_are_what_the_contract_says(self, store: SearchingStore) -> None:
        """For each distance, the small and the large."""
        for distance in Distance:
            records = some(distance.value, distance, 60)
            _put(store, records)
            for wanted in random_vectors(3, 8, distance.value):
                _distances_hold(records, wanted, store.search(distance.value, wanted, 60))

    def test_vectors_of_zeros_have_a_place(self, store: SearchingStore) -> None:
        """They can be found and searched for; at a right angle to everything, when angles count."""
        for distance in Distance:
            vectors = [(0.0, 0.0), (1.0, 0.0), (-1.0, 0.0), (0.0, 2.0)]
            records = keyed(Embedding(distance.value, distance, packed(*one)) for one in vectors)
            _put(store, records)
            for wanted in (packed(0, 0), packed(3, 0)):
                found = store.search(distance.value, wanted, 4)
                _same(len(found), 4, "a vector of zeros, or one near to it, must be found")
                _distances_hold(records, wanted, found)

    def test_no_more_are_found_than_are_wanted(self, store: SearchingStore) -> None:
        """And no fewer, if there are so many."""
        _put(store, some("c", Distance.COSINE, 20))
        (wanted,) = random_vectors(1, 8, "wanted")
        for limit in (0, 1, 3, 19, 20, 21, 10_000):
            _same(len(store.search("c", wanted, limit)), min(limit, 20), f"limit={limit} must hold")

    def test_a_collection_without_records_has_no_nearest(self, store: SearchingStore) -> None:
        """Neither one that never was, nor one that is empty again."""
        records = some("c", Distance.COSINE, 3)
        (wanted,) = random_vectors(1, 8, "wanted")
        _same(store.search("c", wanted, 3), [], "nothing must be found in a store without records")
        _put(store, records)
        _same(store.search("unknown", wanted, 3), [], "nothing must be found in a collection that never was")
        _drop(store, *records)
        _same(store.search("c", wanted, 3), [], "nothing must be found in a collection that is empty again")

    def test_a_filter_narrows_before_the_limit(self, store: SearchingStore) -> None:
        """The nearest of those that fit, however far they are."""
        records = keyed(
            Embedding("c", Distance.EUCLIDEAN, packed(number), {"far": str(number // 90)}) for number in range(100)
        )
        _put(store, records)
        _finds(store, records, where={"far": "1"}, wanted=packed(0))

    def test_a_filter_wants_every_value(self, store: SearchingStore) -> None:
        """All names of the filter, each with exactly its text; more names do not matter."""
        metadata = [
            {},
            {"a": "1"},
            {"b": "1"},
            {"a": "1", "b": "1"},
            {"a": "1", "b": "1", "c": "1"},
            {"a": "2", "b": "1"},
        ]
        records = keyed(Embedding("c", Distance.EUCLIDEAN, packed(1), one) for one in metadata)
        _put(store, records)
        for where in ({"a": "1"}, {"a": "1", "b": "1"}, {"b": "1", "c": "1"}, {"a": "1", "b": "2"}, {"d": "1"}):
            _finds(store, records, where=where)

    def test_any_text_is_metadata(self, store: SearchingStore) -> None:
        """Names and values are told apart by every character."""
        records = keyed(Embedding("c", Distance.EUCLIDEAN, packed(1), {text: text, "t": text}) for text in _TEXTS)
        _put(store, records)
        for text in _TEXTS:
            _finds(store, records, where={text: text})
            _finds(store, records, where={"t": text})

    def test_any_text_is_the_name_of_a_collection(self, store: SearchingStore) -> None:
        """Names are told apart by every character."""
        records = keyed(Embedding(text, Distance.EUCLIDEAN, packed(1)) for text in _TEXTS)
        _put(store, records)
        for text in _TEXTS:
            _finds(store, records, text)

    def test_collections_do_not_mix(self, store: SearchingStore) -> None:
        """Each has its dimension, its distance and its records, though names begin alike."""
        shapes = [("c", Distance.COSINE, 8), ("c/1", Distance.DOT, 8), ("c/2", Distance.COSINE, 3)]
        records: dict[bytes, Embedding] = {}
        for name, distance, dimension in shapes:
            records |= some(name, distance, 10, dimension)
        _put(store, records)
        for name, _, dimension in shapes:
            _finds(store, records, name, wanted=packed(*[1.0] * dimension))

    def test_all_dimensions_count(self, store: SearchingStore) -> None:
        """From 1 to 4096 of them."""
        for dimension in (1, 2, 3, 255, 1024, 2001, 4096):
            zeros = [0.0] * (dimension - 1)
            name = f"{dimension}"
            records = keyed(Embedding(name, Distance.EUCLIDEAN, packed(*zeros, float(number))) for number in range(20))
            _put(store, records)
            wanted = packed(*zeros, 19)
            found = {hit.key for hit in store.search(name, wanted, 3)[:3]}
            _same(found, set(nearest(records, wanted, 3)), f"the last of {dimension} numbers must count")

    def test_a_new_vector_replaces_the_old_one(self, store: SearchingStore) -> None:
        """A record is found once, where it is now."""
        records = some("c", Distance.EUCLIDEAN, 5)
        _put(store, records)
        for vector in (packed(*[1000.0] * 8), packed(*[0.5] * 8)):
            records[b"v/c/2"] = Embedding("c", Distance.EUCLIDEAN, vector)
            _put(store, {b"v/c/2": records[b"v/c/2"]})
            found = store.search("c", vector, 10)
            _same(sorted(hit.key for hit in found), sorted(records), "every record must be found once")
            _distances_hold(records, vector, found)

    def test_new_metadata_replace_the_old_ones(self, store: SearchingStore) -> None:
        """What a record had before, it is not found by."""
        records = {b"v/1": Embedding("c", Distance.EUCLIDEAN, packed(1), {"a": "1", "b": "1"})}
        _put(store, records)
        records[b"v/1"] = Embedding("c", Distance.EUCLIDEAN, packed(1), {"b": "2"})
        _put(store, records)
        for where in ({"a": "1"}, {"b": "1"}, {"b": "2"}):
            _finds(store, records, where=where)

    def test_a_record_can_move_to_another_collection(self, store: SearchingStore) -> None:
        """Then it is in the new one only, whatever that one's shape."""
        for name, vector in (("first", packed(1)), ("second", packed(1, 2)), ("first", packed(3))):
            records = {b"v/1": Embedding(name, Distance.COSINE, vector)}
            _put(store, records)
            _finds(store, records, "first", wanted=packed(1))
            _finds(store, records, "second", wanted=packed(1, 1))

    def test_what_is_deleted_is_not_found(self, store: SearchingStore) -> None:
        """And what is left, is."""
        records = some("c", Distance.EUCLIDEAN, 9)
        _put(store, records)
        for number in (8, 0, 3):
            del records[b"v/c/%d" % number]
            _drop(store, b"v/c/%d" % number)
            _finds(store, records)

    def test_a_batch_that_conflicts_leaves_nothing(self, store: SearchingStore) -> None:
        """Neither its vectors nor its deletions; its neighbours are found."""
        records = some("c", Distance.EUCLIDEAN, 3)
        _put(store, records)
        news = some("c", Distance.EUCLIDEAN, 6)
        conflict = [write(b"v/c/4", news[b"v/c/4"]), Write(b"v/c/1", None), Write(b"v/c/0", b"", ABSENT)]
        results = store.commit([Batch(conflict), Batch([write(b"v/c/5", news[b"v/c/5"])])])
        _same(results[0], Conflict(b"v/c/0"), "the batch must conflict")
        _finds(store, records | {b"v/c/5": news[b"v/c/5"]})

    def test_the_last_write_of_a_commit_counts(self, store: SearchingStore) -> None:
        """Between its batches and within them."""
        old, new = (Embedding("c", Distance.EUCLIDEAN, packed(number)) for number in (1, 9))
        batch = [write(b"v/1", old), write(b"v/1", new), write(b"v/2", old), Write(b"v/2", None)]
        store.commit([Batch([write(b"v/3", old)]), Batch(batch), Batch([write(b"v/3", new), Write(b"v/1", None)])])
        found = [(hit.key, hit.distance) for hit in store.search("c", packed(9), 9)]
        _same(found, [(b"v/3", 0)], "only what was written last must be found")

    def test_only_its_prefix_is_searched(self, store: SearchingStore) -> None:
        """Other records may hold anything, and nobody tries to understand them."""
        records = some("c", Distance.EUCLIDEAN, 3)
        store.commit([Batch([Write(key, b"?") for key in (b"v", b"u/1", b"w", b"v0")])])
        _put(store, records)
        _finds(store, records)

    def test_records_that_were_there_are_found(self, fresh: SearchingStore) -> None:
        """What was committed before `index` is called, and what comes later."""
        records = some("c", Distance.EUCLIDEAN, 1100)
        _put(fresh, records)
        fresh.index(_PREFIX, extract)
        _finds(fresh, records)
        _drop(fresh, b"v/c/7")
        del records[b"v/c/7"]
        _finds(fresh, records)

    def test_what_is_committed_is_found_at_once(self, store: SearchingStore) -> None:
        """By every search that begins after the commit has returned."""
        for number in range(100):
            new = Embedding("c", Distance.EUCLIDEAN, packed(number))
            _put(store, {b"v/%d" % number: new})
            (hit,) = store.search("c", packed(number), 1)
            _same(hit.key, b"v/%d" % number, "a search must see what was committed before it")

    def test_searches_and_commits_go_side_by_side(self, store: SearchingStore) -> None:
        """In two threads: every search sees all that was committed before it began, and nobody fails."""
        done: list[int] = [0]
        failures: list[str] = []
        searching = threading.Thread(target=_search_beside, args=(store, done, failures))
        searching.start()
        for number in range(1, 201):
            _put(store, {b"v/%d" % number: Embedding("c", Distance.EUCLIDEAN, packed(number))})
            done[0] = number
        done[0] = -1
        searching.join()
        _same(failures, [], "searches beside commits must neither fail nor miss anything")

    def test_a_new_opening_finds_the_same(self, tmp_path: Path) -> None:
        """If the store is durable."""
        records = some("c", Distance.EUCLIDEAN, 50)
        with self._open_durable(tmp_path) as store:
            store.index(_PREFIX, extract)
            _put(store, records)
        for number in range(2):
            with self._open_durable(tmp_path) as store:
                store.index(_PREFIX, extract)
                _finds(store, records)
                _drop(store, b"v/c/%d" % number)
                del records[b"v/c/%d" % number]

    def test_changes_by_who_does_not_search_are_found(self, tmp_path: Path) -> None:
        """An opener that never calls `index` changes records; the next one that does finds them as they are."""
        records = some("c", Distance.EUCLIDEAN, 50)
        with self._open_durable(tmp_path) as store:
            store.index(_PREFIX, extract)
            _put(store, {key: records[key] for key in list(records)[:40]})
            _finds(store, {key: records[key] for key in list(records)[:40]})
        with self._open_durable(tmp_path) as store:
            _put(store, {key: records[key] for key in list(records)[40:]})
            _drop(store, b"v/c/3")
            del records[b"v/c/3"]
        with self._open_durable(tmp_path) as store:
            store.index(_PREFIX, extract)
            _finds(store, records)

    def test_most_of_the_nearest_are_found_among_many(self, store: SearchingStore) -> None:
        """19 of 20 at least, whether vectors lie evenly or in clusters."""
        for spread in (10.0, 0.1):
            records = crowd(spread)
            _put(store, records)
            found = 0
            for wanted in random.Random(2).sample(list(records.values()), 20):  # noqa: S311  # no secret
                hits = {hit.key for hit in store.search("crowd", wanted.vector, _WANTED)}
                found += len(hits & set(nearest(records, wanted.vector, _WANTED)))
            _true(found >= _RECALL * 20 * _WANTED, f"of {20 * _WANTED} nearest records only {found} were found")


def _put(store: Store, records: Mapping[bytes, Embedding]) -> None:
    store.commit([Batch([write(key, embedding) for key, embedding in records.items()])])


def _drop(store: Store, *keys: bytes) -> None:
    store.commit([Batch([Write(key, None) for key in keys])])


def _distances_hold(records: Mapping[bytes, Embedding], wanted: bytes, found: list[Hit]) -> None:
    for hit in found:
        true = apart(records[hit.key], wanted)
        close = math.isclose(hit.distance, true, rel_tol=_NEAR_ENOUGH, abs_tol=_NEAR_ENOUGH)
        _true(close, f"{records[hit.key].distance.value} of {hit.key!r} must be {true}, not {hit.distance}")


def _finds(
    store: Searching,
    records: Mapping[bytes, Embedding],
    collection: str = "c",
    where: Mapping[str, str] | None = None,
    wanted: bytes | None = None,
) -> None:
    """Find all records of a collection that fit, and no others."""
    fitting = {
        key: one
        for key, one in records.items()
        if one.collection == collection and (where or {}).items() <= one.metadata.items()
    }
    size = len(next(iter(fitting.values()), Embedding("", Distance.DOT, packed(1))).vector)
    found = store.search(collection, wanted or packed(*[1.0] * (size // 4)), max(1, len(fitting)), where)
    _same(sorted(hit.key for hit in found), sorted(fitting), f"what fits {where or 'everything'} in {collection!r}")


def _search_beside(store: Searching, done: list[int], failures: list[str]) -> None:
    while (committed := done[0]) >= 0 and not failures:
        try:
            found = len(store.search("c", packed(0), 1000))
        except Exception as error:  # noqa: BLE001  # whatever it is, it is one
            failures.append(f"{type(error).__name__}: {error}")
        else:
            if found < committed:
                failures.append(f"{found} found after {committed} were committed")
