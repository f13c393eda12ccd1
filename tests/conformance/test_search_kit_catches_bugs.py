"""A check that cannot fail is a defect: one store for each bug of a search, and the check of the kit that finds it."""

import threading
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Final

import pytest
from hundredfold.errors import HundredfoldError, StoreUnavailable
from hundredfold.stores.contract import ANY, Batch, Capabilities, Committed, Conflict, Guard, Store, Write
from hundredfold.stores.memory import MemoryStore
from hundredfold.stores.search import Distance, Embedding, Extract, Hit
from hundredfold.stores.sqlite import SqliteStore
from hundredfold.testing.search import SearchConformance, extract

Where = Mapping[str, str] | None
Results = list[Committed | Conflict]
Check = Callable[..., None]


class Seen(MemoryStore):
    """A store that searches embeddings as `see` has them."""

    def see(self, embedding: Embedding) -> Embedding:
        raise NotImplementedError

    def index(self, prefix: bytes, extract: Extract) -> None:
        super().index(prefix, lambda value: self.see(extract(value)))


class Answering(MemoryStore):
    """A store that answers what `answer` makes of all hits, in their order."""

    def answer(self, hits: list[Hit], limit: int) -> list[Hit]:
        raise NotImplementedError

    def search(self, collection: str, vector: bytes, limit: int, where: Where = None) -> list[Hit]:
        return self.answer(super().search(collection, vector, len(self._records), where), limit)


class Shadowed(MemoryStore):
    """A store that searches a copy of itself, which gets the writes that `copied` returns."""

    def __init__(self) -> None:
        super().__init__()
        self.shadow = MemoryStore()

    def index(self, prefix: bytes, extract: Extract) -> None:
        self.shadow.index(prefix, extract)

    def commit(self, batches: Iterable[Batch], guard: Guard | None = None) -> Results:
        batches = list(batches)
        results = super().commit(batches, guard)
        writes = self.copied(batches, results)
        self.shadow.commit([Batch([replace(write, expects=ANY) for write in writes])])
        return results

    def copied(self, batches: list[Batch], results: Results) -> Iterable[Write]:
        for batch, result in zip(batches, results, strict=True):
            if isinstance(result, Committed):
                yield from batch.writes

    def search(self, collection: str, vector: bytes, limit: int, where: Where = None) -> list[Hit]:
        return self.shadow.search(collection, vector, limit, where)


# What is found --------------------------------------------------------------------------------------------------------


class SaysThatItCannot(MemoryStore):
    capabilities = Capabilities(durable=False, shared=False)


class TakesAllDistancesForEuclidean(Seen):
    def see(self, embedding: Embedding) -> Embedding:
        return replace(embedding, distance=Distance.EUCLIDEAN)


class FarthestFirst(Answering):
    def answer(self, hits: list[Hit], limit: int) -> list[Hit]:
        return hits[:limit][::-1]


class AnswersTheSquare(Answering):
    def answer(self, hits: list[Hit], limit: int) -> list[Hit]:
        return [replace(hit, distance=hit.distance**2) for hit in hits[:limit]]


class LeavesZerosOut(Answering):
    def answer(self, hits: list[Hit], limit: int) -> list[Hit]:
        return [hit for hit in hits if any(extract(self._records[hit.key].value).vector)][:limit]


class FindsOneTooMany(Answering):
    def answer(self, hits: list[Hit], limit: int) -> list[Hit]:
        return hits[: limit + 1]


class RefusesToFindMany(MemoryStore):
    def search(self, collection: str, vector: bytes, limit: int, where: Where = None) -> list[Hit]:
        if limit > 4096:
            raise StoreUnavailable(self.url, "k value in knn query too large")
        return super().search(collection, vector, limit, where)


class RefusesUnknownCollections(MemoryStore):
    def search(self, collection: str, vector: bytes, limit: int, where: Where = None) -> list[Hit]:
        hits = super().search(collection, vector, limit, where)
        if not hits:
            raise StoreUnavailable(self.url, f"no such table: {collection}")
        return hits


class MissesSome(Answering):
    def answer(self, hits: list[Hit], limit: int) -> list[Hit]:
        return [hit for hit in hits if sum(hit.key) % 10][:limit]


class MissesTheSecond(Answering):
    def answer(self, hits: list[Hit], limit: int) -> list[Hit]:
        return hits[:1] + hits[2 : limit + 1]


# Filters --------------------------------------------------------------------------------------------------------------


class FiltersBehindTheLimit(MemoryStore):
    def search(self, collection: str, vector: bytes, limit: int, where: Where = None) -> list[Hit]:
        fitting = super().search(collection, vector, len(self._records), where)
        return [hit for hit in super().search(collection, vector, limit) if hit in fitting]


class FiltersByTheFirstName(MemoryStore):
    def search(self, collection: str, vector: bytes, limit: int, where: Where = None) -> list[Hit]:
        return super().search(collection, vector, limit, dict(list((where or {}).items())[:1]))


class FoldsMetadata(Seen):
    def see(self, embedding: Embedding) -> Embedding:
        fold = {unicodedata.normalize("NFC", k): unicodedata.normalize("NFC", v) for k, v in embedding.metadata.items()}
        return replace(embedding, metadata=fold)


# Shapes and names -----------------------------------------------------------------------------------------------------


class EndsNamesAtZero(Seen):
    def see(self, embedding: Embedding) -> Embedding:
        return replace(embedding, collection=embedding.collection.partition("\x00")[0])


class TakesABeginningForTheName(Seen):
    def see(self, embedding: Embedding) -> Embedding:
        return replace(embedding, collection=embedding.collection.partition("/")[0])


class CutsDimensions(Seen):
    def see(self, embedding: Embedding) -> Embedding:
        return replace(embedding, vector=embedding.vector[: 4 * 2000].ljust(len(embedding.vector), b"\x00"))


# Changes --------------------------------------------------------------------------------------------------------------


class KeepsTheOldVector(Shadowed):
    def copied(self, batches: list[Batch], results: Results) -> Iterator[Write]:
        for write in super().copied(batches, results):
            if write.value is None or self.shadow.get([write.key]) == [None]:
                yield write


class KeepsOldMetadata(Shadowed):
    def __init__(self) -> None:
        super().__init__()
        self.metadata: dict[bytes, dict[str, str]] = {}

    def copied(self, batches: list[Batch], results: Results) -> Iterator[Write]:
        for write in super().copied(batches, results):
            if write.value is not None:
                self.metadata[write.key] = {**self.metadata.get(write.key, {}), **extract(write.value).metadata}
            yield write

    def search(self, collection: str, vector: bytes, limit: int, where: Where = None) -> list[Hit]:
        hits = self.shadow.search(collection, vector, limit)
        return [hit for hit in hits if (where or {}).items() <= self.metadata[hit.key].items()]


class LeavesAGhostBehind(Shadowed):
    def copied(self, batches: list[Batch], results: Results) -> Iterator[Write]:
        for write in super().copied(batches, results):
            (known,) = self.shadow.get([write.key])
            if known and write.value and extract(known.value).collection != extract(write.value).collection:
                yield Write(write.key + b" in " + extract(known.value).collection.encode(), known.value)
            yield write


class NeverForgets(Shadowed):
    def copied(self, batches: list[Batch], results: Results) -> Iterator[Write]:
        return (write for write in super().copied(batches, results) if write.value is not None)


class CopiesWhatConflicts(Shadowed):
    def copied(self, batches: list[Batch], results: Results) -> Iterator[Write]:  # noqa: ARG002  # that is the bug
        return (write for batch in batches for write in batch.writes if write.value != b"")


class FirstWriteCounts(Shadowed):
    def copied(self, batches: list[Batch], results: Results) -> list[Write]:
        return list(super().copied(batches, results))[::-1]


class SearchesEverything(MemoryStore):
    def index(self, prefix: bytes, extract: Extract) -> None:  # noqa: ARG002  # that is the bug
        super().index(b"", extract)


class FindsOnlyWhatComes(Shadowed):
    def copied(self, batches: list[Batch], results: Results) -> Iterable[Write]:
        return super().copied(batches, results) if self.shadow._prefix else []


class BeginsWithOnePage(Shadowed):
    def index(self, prefix: bytes, extract: Extract) -> None:
        super().index(prefix, extract)
        self.shadow.commit([Batch([Write(entry.key, entry.record.value) for entry in self.scan(prefix)])])

    def copied(self, batches: list[Batch], results: Results) -> Iterable[Write]:
        return super().copied(batches, results) if self.shadow._prefix else []


# Time -----------------------------------------------------------------------------------------------------------------


class LagsBehind(Shadowed):
    late: Iterable[Write] = ()

    def copied(self, batches: list[Batch], results: Results) -> Iterable[Write]:
        late, self.late = self.late, list(super().copied(batches, results))
        return late


class KnowsOneThread(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.get_ident()

    def search(self, collection: str, vector: bytes, limit: int, where: Where = None) -> list[Hit]:
        if threading.get_ident() != self.thread:
            raise StoreUnavailable(self.url, "objects created in a thread can only be used in that same thread")
        return super().search(collection, vector, limit, where)


class ForgetsEverything(MemoryStore):
    capabilities = Capabilities(durable=True, shared=False, vectors=True)


class NotesNothing(SqliteStore):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._changes.note = lambda *_: None  # type: ignore[method-assign]


class NotesNothingKit(SearchConformance):
    def open(self, directory: Path) -> Store:
        return NotesNothing(directory / "state.db")


# What finds what ------------------------------------------------------------------------------------------------------

KIT: Final = SearchConformance

IN_MEMORY: Final[dict[type[MemoryStore], Check]] = {
    SaysThatItCannot: KIT.test_it_says_that_it_can_search,
    TakesAllDistancesForEuclidean: KIT.test_the_nearest_are_found,
    MissesTheSecond: KIT.test_the_nearest_are_found,
    FarthestFirst: KIT.test_the_nearest_come_first,
    AnswersTheSquare: KIT.test_distances_are_what_the_contract_says,
    LeavesZerosOut: KIT.test_vectors_of_zeros_have_a_place,
    FindsOneTooMany: KIT.test_no_more_are_found_than_are_wanted,
    RefusesToFindMany: KIT.test_no_more_are_found_than_are_wanted,
    RefusesUnknownCollections: KIT.test_a_collection_without_records_has_no_nearest,
    MissesSome: KIT.test_most_of_the_nearest_are_found_among_many,
    FiltersBehindTheLimit: KIT.test_a_filter_narrows_before_the_limit,
    FiltersByTheFirstName: KIT.test_a_filter_wants_every_value,
    FoldsMetadata: KIT.test_any_text_is_metadata,
    EndsNamesAtZero: KIT.test_any_text_is_the_name_of_a_collection,
    TakesABeginningForTheName: KIT.test_collections_do_not_mix,
    CutsDimensions: KIT.test_all_dimensions_count,
    KeepsTheOldVector: KIT.test_a_new_vector_replaces_the_old_one,
    KeepsOldMetadata: KIT.test_new_metadata_replace_the_old_ones,
    LeavesAGhostBehind: KIT.test_a_record_can_move_to_another_collection,
    NeverForgets: KIT.test_what_is_deleted_is_not_found,
    CopiesWhatConflicts: KIT.test_a_batch_that_conflicts_leaves_nothing,
    FirstWriteCounts: KIT.test_the_last_write_of_a_commit_counts,
    SearchesEverything: KIT.test_only_its_prefix_is_searched,
    FindsOnlyWhatComes: KIT.test_records_that_were_there_are_found,
    BeginsWithOnePage: KIT.test_records_that_were_there_are_found,
    LagsBehind: KIT.test_what_is_committed_is_found_at_once,
    KnowsOneThread: KIT.test_searches_and_commits_go_side_by_side,
    ForgetsEverything: KIT.test_a_new_opening_finds_the_same,
}

ON_DISK: Final[dict[type[SearchConformance], Check]] = {
    NotesNothingKit: KIT.test_changes_by_who_does_not_search_are_found,
}


@pytest.mark.parametrize(("broken", "check"), IN_MEMORY.items(), ids=lambda value: value.__name__)
def test_the_kit_finds_the_bug(broken: type[MemoryStore], check: Check, tmp_path: Path) -> None:
    class Kit(SearchConformance):
        def open(self, directory: Path) -> Store:  # noqa: ARG002  # it is in memory
            return broken()

    assert failure(Kit(), check, tmp_path)


@pytest.mark.parametrize(("kit", "check"), ON_DISK.items(), ids=lambda value: value.__name__)
def test_the_kit_finds_the_bug_on_disk(kit: type[SearchConformance], check: Check, tmp_path: Path) -> None:
    assert failure(kit(), check, tmp_path)


def test_every_check_is_seen_to_fail() -> None:
    checks = {check for name, check in vars(KIT).items() if name.startswith("test_")}
    assert checks == {*IN_MEMORY.values(), *ON_DISK.values()}


def failure(kit: SearchConformance, check: Check, directory: Path) -> str:
    arguments = set(signature(check).parameters)
    try:
        if "tmp_path" in arguments:
            check(kit, directory)
            return ""
        with closing(kit.open(directory)) as store:
            assert isinstance(store, MemoryStore)
            if "store" in arguments:
                store.index(b"v/", extract)
            check(kit, store)
    except pytest.skip.Exception:
        pytest.fail("the check was skipped, so it found nothing")
    except (AssertionError, HundredfoldError, ValueError) as error:
        return str(error)
    return ""
