"""The search contract: what a store offers beside the store contract that can find the vectors nearest to a vector.

What is searched is derived from records: everything about an index can be thrown away and made again from them. A store
without it declares `vectors=False`, and nobody asks it. `hundredfold.testing.search` proves an implementation.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeAlias, runtime_checkable


class Distance(StrEnum):
    """How far two vectors are apart; what is smaller is nearer."""

    COSINE = "cosine"
    """1 less the cosine of the angle between them, from 0 to 2; that of a vector of zeros and any other is 1."""
    EUCLIDEAN = "euclidean"
    """The length of their difference."""
    DOT = "dot"
    """The negative of their dot product."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """What is searched for of one record.

    Attributes:
        collection: what it is found in; all vectors of a collection have the same dimension and distance.
        distance: how far apart vectors of this collection are.
        vector: 32-bit floats, little-endian.
        metadata: what a search can be narrowed by: JSON text by name.

    """

    collection: str
    distance: Distance
    vector: bytes
    metadata: Mapping[str, str] = field(default_factory=dict)


Extract: TypeAlias = Callable[[bytes], Embedding]
"""Returns what is searched for of a record, given its value. Pure, and called in any thread."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A record that was found, and how far it is from what was searched for."""

    key: bytes
    distance: float


@runtime_checkable
class Searching(Protocol):
    """A store that can search."""

    def index(self, prefix: bytes, extract: Extract) -> None:
        """Make every record searchable whose key starts with `prefix`: those that are there, and those to come.

        Called once, in the thread of the other methods, before anything is searched for. It may take long, the first
        time.

        Raises: as `Store.get`.
        """

    def search(self, collection: str, vector: bytes, limit: int, where: Mapping[str, str] | None = None) -> list[Hit]:
        """Return the records nearest to a vector, the nearest first, at most `limit`; approximately is good enough.

        Only those are found whose metadata has every value of `where`. It sees everything that was committed before it
        was called. It is called in a thread of its own, one call at a time, while others are in the other methods: no
        search may hold up a commit. A collection without records has no nearest ones. `vector` has the dimension of the
        collection.

        Raises:
            StoreUnreachable: the server cannot be reached; ask again.
            IndexUnavailable: it cannot be searched, and the error says why; everything else goes on.
            StoreUnavailable: it is closed.

        """
