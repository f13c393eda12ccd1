"""The conformance kit for what a store does in trouble: when an answer is lost, and when there is no room.

    class TestMyStoreInTrouble(OutageConformance):
        def open(self, directory: Path) -> Store:
            return MyStore(address())

        @contextmanager
        def losing_an_answer(self, store: Store) -> Iterator[None]:
            with my_proxy.dropping_the_next_answer():
                yield

Only the store's author can make that trouble: what has no hook is skipped. It does not cover a server that is away,
that has lost something, or that gets a commit after it was repeated.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path
from typing import Final

import pytest

from hundredfold.errors import StoreFull, StoreUnreachable
from hundredfold.stores.contract import ABSENT, Batch, Committed, Conflict, Store, Write
from hundredfold.testing.rules import same, true

_LARGE: Final = b"x" * (4 << 20)


class OutageConformance:
    """Tests of one store. Subclass it at the top level of a test file, with a name that begins with `Test`."""

    def open(self, directory: Path) -> Store:
        """Open the store in `directory`, or make it."""
        raise NotImplementedError

    def losing_an_answer(self, store: Store) -> AbstractContextManager[None]:  # noqa: ARG002  # for whoever overrides it
        """Within it, the next commit is written, and raises `StoreUnreachable` all the same."""
        pytest.skip("there is no hook that has an answer be lost")

    def without_room(self, store: Store) -> AbstractContextManager[None]:  # noqa: ARG002  # as above
        """Within it, a commit of 4 MiB finds no room; behind it, it does."""
        pytest.skip("there is no hook that takes the room away")

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        """Yield a new store."""
        with closing(self.open(tmp_path)) as store:
            yield store

    def test_a_commit_whose_answer_is_lost_is_made_once(self, store: Store) -> None:
        """The repetition answers what the first time would have answered, and writes nothing."""
        store.commit([Batch([Write(b"taken", b"1")])])
        batches = [Batch([Write(b"k", b"1", ABSENT)]), Batch([Write(b"taken", b"2", ABSENT)])]
        self._lose(store, batches)
        first, second = store.commit(batches)
        true(isinstance(first, Committed), f"the repetition must answer as the first time, not {first}")
        same(second, Conflict(b"taken"), "that holds for every batch of it")
        (found,) = store.get([b"k"])
        same(found and Committed(found.version), first, "its version must be that of what was written the first time")

    def test_a_repetition_writes_nothing(self, store: Store) -> None:
        """Not even what would do no harm: versions are compared with."""
        batches = [Batch([Write(b"k", b"1")])]
        self._lose(store, batches)
        before = store.get([b"k"])
        store.commit(batches)
        same(store.get([b"k"]), before, "the repetition must leave what was written the first time")

    def test_the_same_again_is_no_repetition(self, store: Store) -> None:
        """Once a commit is answered, the next one is another, whatever is in it."""
        batches = [Batch([Write(b"k", b"1")])]
        self._lose(store, batches)
        (repeated,), (another,) = store.commit(batches), store.commit(batches)
        true(
            isinstance(repeated, Committed) and isinstance(another, Committed) and another.version > repeated.version,
            f"a commit behind one that was answered must be made, but {repeated} was followed by {another}",
        )

    def test_what_finds_no_room_writes_nothing_and_can_be_tried_again(self, store: Store) -> None:
        """`StoreFull` is no end: the same commit is tried again when there is room."""
        store.commit([Batch([Write(b"kept", b"1")])])
        before = store.scan(b"")
        batches = [Batch([Write(b"small", b"s")]), Batch([Write(b"large", _LARGE), Write(b"kept", None)])]
        with self.without_room(store):
            results: object = None
            with suppress(StoreFull):
                results = store.commit(batches)
            same(results, None, "a commit that finds no room must raise StoreFull, and not answer")
            same(store.scan(b""), before, "nothing of it may be written")
        kinds = [type(result).__name__ for result in store.commit(batches)]
        same(kinds, ["Committed", "Committed"], "with room the same commit must be made")

    def _lose(self, store: Store, batches: list[Batch]) -> None:
        with self.losing_an_answer(store):
            results: object = None
            with suppress(StoreUnreachable):
                results = store.commit(batches)
            same(results, None, "a commit whose answer is lost must raise StoreUnreachable, and not answer")
