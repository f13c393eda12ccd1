"""The index of an SQLite store's vectors: two files beside it that can be made again.

The records are the truth. What changes them notes so in the same transaction, see `ChangeLog`; every file knows how far
it is, and is brought up to date, or thrown away and made again. A commit only hands over what it has changed; a search
is answered by all shards at once, and never touches the store's connection.

An index that cannot be made, or is lost, ends searches and nothing else. It is made again while the store is in use:
every commit does a little of that, because no commit may be held up for long, and only they have the connection.
"""

import heapq
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Final, Protocol
from zlib import crc32

import apsw

from hundredfold.errors import IndexUnavailable, StoreUnavailable
from hundredfold.stores.contract import Entry, Record
from hundredfold.stores.search import Extract, Hit
from hundredfold.stores.sqlite_changes import ChangeLog
from hundredfold.stores.sqlite_shard import CannotSearchError, Change, Shard
from hundredfold.stores.sqlite_vectors import DAMAGE, DamagedVectorsError, VectorFile, discard

_log: Final = logging.getLogger(__name__)

_SHARDS: Final = 2
"""They share what a search takes: 25 ms of CPU for 100,000 vectors of 256 dimensions."""

_PAGE: Final = 200
"""Records read at once: their values may be large."""

_AGAIN_SECONDS: Final = 10.0
"""How long one that has been made, or tried to be, is not made again; twice as long every time."""

_BIT_SECONDS: Final = 0.05
"""How long a commit may be held up by what it does to make the index again."""

_BEING_MADE: Final = "their index is being made"
_CANNOT_BE_MADE: Final = (apsw.Error, OSError, DamagedVectorsError)


class Readable(Protocol):
    """The store whose records are searched for."""

    url: str

    def get(self, keys: Sequence[bytes]) -> list[Record | None]:
        """See `Store.get`."""

    def scan(self, prefix: bytes, *, after: bytes = b"", limit: int = 1000, reverse: bool = False) -> list[Entry]:
        """See `Store.scan`."""


class VectorIndex:
    """An index of `store`, whose `changes` have begun to be noted.

    All but `search` is called in the thread of the store.

    Args:
        store: whose records they are.
        path: where it is.
        changes: its log of changes.
        extract: see `Searching.index`.

    """

    def __init__(self, store: Readable, path: Path, changes: ChangeLog, extract: Extract) -> None:
        self._store = store
        self._paths = index_paths(path)
        self._log = changes
        self._extract = extract
        self._shards: list[Shard] = []
        self._problem = ""
        self._closed = False
        self._pages: Iterator[Sequence[Change]] | None = None
        self._pause = _AGAIN_SECONDS
        self._again = time.monotonic() + self._pause
        self._url = f"sqlite:{path}"

    @property
    def durable(self) -> int:
        """The version that is there after a loss of power, too."""
        return min((shard.durable for shard in self._shards), default=0)

    def catch_up(self, version: int) -> None:
        """Bring the index to the store's version; it goes on behind the return of this, which searches wait for.

        Raises:
            apsw.Error: the files can be neither used nor replaced.
            OSError: as above.

        """
        files = self._found()
        reached = min((file.version for file in files), default=-1)
        changed = self._log.since(reached, version)
        prefix = self._log.prefix or b""
        if changed is not None:
            self._start(files)
            self._feed(_now(self._store, changed), reached, version)
            return
        _close(files)
        self._discard()
        if self._store.scan(prefix, limit=1):  # nobody needs the files of an index of nothing
            self._make()
            self._feed(_all(self._store, prefix), 0, version)

    def change(self, changes: Mapping[bytes, Record | None], version: int) -> None:
        """Hand over what a commit has changed. Waits if too much is waiting already."""
        prefix = self._log.prefix or b""
        ours = [(key, record.value if record else None) for key, record in changes.items() if key.startswith(prefix)]
        try:
            if self._problem or any(shard.is_lost for shard in self._shards):
                self._begin_again()
            elif ours and not self._shards:
                self._start(_opened(self._paths))
        except _CANNOT_BE_MADE as error:  # the commit stands
            self._problem = f"its index cannot be made: {error}"
            _log.exception("the index of vectors of %s cannot be made", self._url)
        if ours and self._shards:
            # Until it is made as a whole it claims to be at the beginning, where it would be after a crash.
            self._hand_over(ours, 0 if self._pages else version)
        if self._pages:
            self._make_a_bit(self._pages, version)

    def search(self, collection: str, vector: bytes, limit: int, where: Mapping[str, str]) -> list[Hit]:
        """See `Searching.search`."""
        shards = self._shards  # before the problem, which is set before there are new ones to be filled
        if self._closed:
            raise StoreUnavailable(self._url, "it is closed")
        if self._problem:
            raise IndexUnavailable(self._url, self._problem)
        if limit <= 0:
            return []
        asked = [shard.search(collection, vector, limit, where) for shard in shards]
        try:
            hits = [hit for found in asked for hit in found.result()]
        except CancelledError:
            if self._closed:
                raise StoreUnavailable(self._url, "it is closed") from None
            raise IndexUnavailable(self._url, _BEING_MADE) from None
        except (CannotSearchError, apsw.Error) as error:
            raise IndexUnavailable(self._url, str(error)) from error
        return heapq.nsmallest(limit, hits, key=lambda hit: (hit.distance, hit.key))

    def close(self, *, quietly: bool = False) -> None:
        """End the threads and close the files. What they have not done, they do after the next start. Idempotent."""
        self._closed = True
        for shard in self._shards:
            shard.close(quietly=quietly)

    def _begin_again(self) -> None:
        """Replace an index that is of no use, unless that was tried a moment ago."""
        now = time.monotonic()
        if self._pages or now < self._again:
            return
        self._again, self._pause = now + self._pause, 2 * self._pause
        self._problem = _BEING_MADE  # before there are new shards, which `search` relies on
        for shard in self._shards:
            shard.close(quietly=True)
        self._discard()
        self._make()
        self._pages = _all(self._store, self._log.prefix or b"")

    def _make(self) -> None:
        _log.info("making the index of vectors of %s", self._url)
        self._start(_opened(self._paths))

    def _make_a_bit(self, pages: Iterator[Sequence[Change]], version: int) -> None:
        until = time.monotonic() + _BIT_SECONDS
        if any(shard.is_lost for shard in self._shards):
            self._pages = None
            return
        while time.monotonic() < until and not any(shard.is_full for shard in self._shards):
            page = next(pages, None)
            if page is None:
                self._hand_over([], version)
                self._pages, self._problem = None, ""
                return
            self._hand_over(page, 0)

    def _discard(self) -> None:
        for path in self._paths:
            discard(path)

    def _found(self) -> list[VectorFile]:
        """Return the files that are there, if all are, and are this store's."""
        if not any(path.exists() for path in self._paths):
            return []
        try:
            files = _opened(self._paths)
        except DAMAGE as error:
            _log.warning("the index of vectors of %s is damaged and will be made again: %s", self._url, error)
            return []
        if {file.token for file in files} == {self._log.token}:
            return files
        _close(files)
        return []

    def _start(self, files: Iterable[VectorFile]) -> None:
        self._shards = [Shard(file, self._log.token, self._extract) for file in files]

    def _feed(self, pages: Iterable[Sequence[Change]], before: int, version: int) -> None:
        for page in pages:
            self._hand_over(page, before)
        self._hand_over([], version)

    def _hand_over(self, changes: Sequence[Change], version: int) -> None:
        """Give each shard its share; all of them learn the version."""
        shares: list[list[Change]] = [[] for _ in self._shards]
        for change in changes:
            shares[crc32(change[0]) % len(shares)].append(change)
        for shard, share in zip(self._shards, shares, strict=True):
            shard.change(share, version)


def index_paths(path: Path) -> list[Path]:
    """Return where the index of the store at `path` is."""
    return [path.with_name(f"{path.name}-vectors-{number}") for number in range(1, _SHARDS + 1)]


def throw_away(path: Path) -> None:
    """Remove the index of the store at `path`, which nobody has open: the next opening makes it again."""
    for one in index_paths(path):
        discard(one)


def _opened(paths: Iterable[Path]) -> list[VectorFile]:
    """Open all of them, or none."""
    files: list[VectorFile] = []
    try:
        for path in paths:
            files.append(VectorFile(path))  # noqa: PERF401  # those before must be known if one fails
    except BaseException:
        _close(files)
        raise
    return files


def _close(files: Iterable[VectorFile]) -> None:
    for file in files:
        file.close(quietly=True)


def _now(store: Readable, keys: Sequence[bytes]) -> Iterator[list[Change]]:
    for start in range(0, len(keys), _PAGE):
        some = keys[start : start + _PAGE]
        yield [(key, record.value if record else None) for key, record in zip(some, store.get(some), strict=True)]


def _all(store: Readable, prefix: bytes) -> Iterator[list[Change]]:
    after = b""
    while entries := store.scan(prefix, after=after, limit=_PAGE):
        yield [(entry.key, entry.record.value) for entry in entries]
        after = entries[-1].key
