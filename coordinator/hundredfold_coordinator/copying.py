"""Copying a store: every record into another one, and the proof that both hold the same."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from hundredfold.errors import CopyFailed, StoreEmpty, StoreInUse, StoreNotEmpty, StoreUnfinished
from hundredfold.stores.contract import Batch, Entry, Store, Write

from hundredfold_coordinator import keys
from hundredfold_coordinator.lease import holder_of, term_of

_PAGE: Final = 200
_COMMIT_BYTES: Final = 4 << 20
_TERM_SECONDS: Final = 10.0
"""Of a lease that does not say for how long its holder may be silent: what `lease_seconds` is by default."""

_LOOKS_PER_TERM: Final = 20


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied.

    Attributes:
        records: how many.
        size_bytes: of keys and values.
        digest: SHA-256 over all keys and values, in the order of the keys; the same for both stores.

    """

    records: int
    size_bytes: int
    digest: str


def copy(source: Store, target: Store, on_progress: Callable[[int], None] = lambda _records: None) -> Copied:
    """Copy every record of `source` into the empty store `target`; `on_progress` is told how many there are by now.

    Versions are the target's own: nothing that lasts refers to one. What is derived, such as an index of vectors, is
    made by the next coordinator.

    Raises:
        StoreUnfinished, StoreEmpty: the source is not worth it, see `check_source`.
        StoreNotEmpty: the target has something in it, as one that a coordinator uses always has; that none uses the
            source is for the caller to see first.
        CopyFailed: they differ afterwards: somebody has written to one of them.

    """
    check_source(source)
    if target.scan(b"", limit=1):
        raise StoreNotEmpty(target.url)
    _write(target, [Write(keys.UNFINISHED, b"")])
    count = 0
    for page in _pages(source):
        for writes in _portions(page):
            _write(target, writes)
        count += len(page)
        on_progress(count)
    before, after = _digest(source), _digest(target)
    if before != after:
        raise CopyFailed(source.url, target.url, before.records, after.records)
    _write(target, [Write(keys.UNFINISHED, None)])
    return after


def check_source(store: Store) -> None:
    """Refuse a store whose copy would pass for one of something.

    Raises:
        StoreUnfinished: it is half of a copy itself.
        StoreEmpty: there is nothing in it, not even what every coordinator leaves: it is another one than was meant.

    """
    if is_unfinished(store):
        raise StoreUnfinished(store.url)
    if not store.scan(b"", limit=1):
        raise StoreEmpty(store.url)


def is_unfinished(store: Store) -> bool:
    """Whether a copy into a store was begun and not finished."""
    return store.get([keys.UNFINISHED]) != [None]


def _pages(store: Store) -> Iterator[list[Entry]]:
    """Yield what is copied of a store: all but what its coordinator's life leaves in it."""
    after = b""
    while entries := store.scan(b"", after=after, limit=_PAGE):
        yield [entry for entry in entries if entry.key not in (keys.HEARTBEAT, keys.UNFINISHED)]
        after = entries[-1].key


def _portions(page: list[Entry]) -> Iterator[list[Write]]:
    writes: list[Write] = []
    size = 0
    for entry in page:
        writes.append(Write(entry.key, entry.record.value))
        size += len(entry.record.value)
        if size > _COMMIT_BYTES:
            yield writes
            writes, size = [], 0
    if writes:
        yield writes


def _write(store: Store, writes: list[Write]) -> None:
    store.commit([Batch(writes)])


def _digest(store: Store) -> Copied:
    digest, records, size = sha256(), 0, 0
    for page in _pages(store):
        for entry in page:
            for part in (entry.key, entry.record.value):
                digest.update(len(part).to_bytes(8) + part)
                size += len(part)
        records += len(page)
    return Copied(records, size, digest.hexdigest())


def refuse_if_used(
    store: Store,
    on_listen: Callable[[float], None] = lambda _seconds: None,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Listen for a term, or until it is heard, whether a coordinator lives that has the lease of a shared store.

    Args:
        store: that may be in use.
        on_listen: told for how many seconds, at most, before that begins.
        sleep: lets a number of seconds pass.

    Raises:
        StoreInUse: one does.

    """
    lease, first = store.get([keys.LEASE, keys.HEARTBEAT])
    if first is None or not store.capabilities.shared:
        return
    term = (lease and term_of(lease)) or _TERM_SECONDS
    on_listen(term)
    for _ in range(_LOOKS_PER_TERM):
        sleep(term / _LOOKS_PER_TERM)
        (now,) = store.get([keys.HEARTBEAT])
        if now is None:
            return
        if now.version != first.version:
            raise StoreInUse(store.url, holder_of(lease) if lease else "a coordinator")
