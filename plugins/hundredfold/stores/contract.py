"""The store contract: the one small interface behind which everything durable lives.

A store maps byte-string keys to byte-string values. It gives every value it writes a version, and commits batches
atomically. It is called by one thread at a time and may block. `hundredfold.testing.store` proves an implementation.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

ANY: Final = -1
"""Precondition of a write: whatever is there."""

ABSENT: Final = 0
"""Precondition of a write: the key does not exist. Versions start at 1, so 0 is never one."""


@dataclass(frozen=True, slots=True)
class Record:
    """A value and the version the store gave it.

    A version is a positive integer, larger than every version given before in this store.
    """

    value: bytes
    version: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A record with its key, as a scan returns it."""

    key: bytes
    record: Record


@dataclass(frozen=True, slots=True)
class Write:
    """One key's new value.

    Attributes:
        key: not empty.
        value: the new value; None deletes the key, and deleting a missing key is fine.
        expects: `ANY`, `ABSENT`, or the version that the key must have now.

    """

    key: bytes
    value: bytes | None
    expects: int = ANY


@dataclass(frozen=True, slots=True)
class Batch:
    """Writes that happen together or not at all. Later writes to a key win; preconditions see the state before."""

    writes: Sequence[Write]


@dataclass(frozen=True, slots=True)
class Guard:
    """A key that must still have a version, or nothing is written: how an old coordinator is kept out."""

    key: bytes
    version: int


@dataclass(frozen=True, slots=True)
class Committed:
    """The batch is written; `version` is what its keys have now."""

    version: int


@dataclass(frozen=True, slots=True)
class Conflict:
    """The batch is not written, because `key` was not as expected."""

    key: bytes


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store can do; declared, not guessed.

    Attributes:
        durable: a commit that returned survives the loss of power.
        shared: several coordinators, on several machines, may open the store at once; its lease decides who may write.
        vectors: it can be searched, see `hundredfold.stores.search`.

    """

    durable: bool
    shared: bool
    vectors: bool = False


class Store(Protocol):
    """A place where all state lives.

    Raises: every method raises `hundredfold.errors.StoreUnavailable` when the store cannot be read or written, and will
    not be; and `hundredfold.errors.StoreUnreachable` when its server does not answer, but may do so again: then the
    same call can be repeated after a while.
    """

    @property
    def url(self) -> str:
        """Where the store is, without secrets."""

    @property
    def capabilities(self) -> Capabilities:
        """What the store can do."""

    def get(self, keys: Sequence[bytes]) -> list[Record | None]:
        """Return the record of each key, in their order; None where there is none."""

    def scan(self, prefix: bytes, *, after: bytes = b"", limit: int = 1000, reverse: bool = False) -> list[Entry]:
        """Return up to `limit` records whose keys start with `prefix`, in byte order of their keys.

        `after` is a whole key: only keys behind it in the direction of the scan are returned; empty means from the
        beginning. `reverse` scans from the last key to the first.
        """

    def commit(self, batches: Iterable[Batch], guard: Guard | None = None) -> list[Committed | Conflict]:
        """Write the batches, each all-or-nothing, in order, and make them durable with one sync.

        A batch sees what the batches before it wrote. The answer has one entry for each batch. When it returns, what
        it calls committed is as durable as the store declares.

        Raises:
            Fenced: the guard's key has another version; nothing at all was written.
            StoreFull: there is no room; nothing at all was written, and the same commit can be tried again.
            StoreUnreachable: the answer is lost, and it may or may not be written. The same commit has to be repeated
                before any other; if it was written, the repetition answers what the first time would have answered, and
                writes nothing.
            StoreUnavailable: what is written is unknown. Nothing may be done with this store any more, not even
                `close`: a sync that succeeds after one that failed says nothing (https://lwn.net/Articles/752063).

        """

    def close(self) -> None:
        """Release everything. Idempotent."""


@runtime_checkable
class SelfChecking(Protocol):
    """What a store may offer beside the contract: to look for damage in itself."""

    def check(self) -> list[str]:
        """Return what is wrong, a sentence for each; nothing if all is well. It may take long."""


@runtime_checkable
class Copying(Protocol):
    """What a store may offer beside the contract: to be copied while it is in use."""

    def back_up(self, path: Path) -> Iterator[None]:
        """Copy everything into the new file `path`, which is there, durable, when the iteration ends.

        Between two steps other methods may be called. Closing the iterator gives the copy up.

        Raises:
            BackupFailed: the file exists already, or cannot be written.

        """


def end_of_prefix(prefix: bytes) -> bytes:
    """Return the smallest key behind all keys that start with `prefix`; empty if there is none."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1]) if stripped else b""
