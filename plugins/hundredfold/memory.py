"""Vector memory, as a behaviour has it: what it finds by likeness, and what it wants remembered.

What is found is what was recorded before; what is written is recorded in one commit with the result, and if the attempt
does not complete, nothing of it is.
"""

from asyncio import to_thread
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol, TypeAlias

from hundredfold.bounds import MEMORY_RECORDS, check_length, check_name
from hundredfold.errors import InvalidArgument
from hundredfold.session import Json, copy_of, text_of

_LARGEST: Final = 3.4028234663852886e38
"""The largest number that 32 bits hold: what a collection keeps of a figure."""
Vector: TypeAlias = Sequence[float]
"""As many figures as the collection's dimension."""


@dataclass(frozen=True, slots=True)
class Collection:
    """A set of vectors that are searched together.

    Attributes:
        name: its name.
        dimension: number of figures of each of its vectors.
        distance: `cosine`, `euclidean` or `dot`.
        embedder: what agents make its vectors of texts with; empty if they come with their vectors.
        tenant: whose tasks may use it; empty for those of all.
        create_time: when it was made, in UTC.

    """

    name: str
    dimension: int
    distance: str = "cosine"
    embedder: str = ""
    tenant: str = ""
    create_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """A record that was found.

    Attributes:
        id: its name in the collection.
        distance: how far it is from what was searched for; what is smaller is nearer.
        content: what it stands for.
        metadata: what a search can be narrowed by.
        task_id: the task that wrote it; empty if a client did.
        attempt: the attempt of that task; 0 if there is none.
        update_time: when it was written, in UTC.

    """

    id: str
    distance: float
    content: Json = None
    metadata: Mapping[str, Json] = field(default_factory=dict)
    task_id: str = ""
    attempt: int = 0
    update_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Remembered:
    """A record that an attempt wants written."""

    id: str
    vector: Vector
    content: Json = None
    metadata: Mapping[str, Json] = field(default_factory=dict)


class MemoryPort(Protocol):
    """Where memory is: the worker's channel and its embedders, or a fake."""

    def embed(self, collection: str, text: str) -> Vector:
        """Return the vector of a text, as the embedder of a collection has it."""

    def check_dimension(self, collection: str, dimension: int) -> None:
        """Refuse vectors that do not fit a collection.

        Raises:
            InvalidArgument, UnknownCollection: the error says what does not fit.

        """

    def search_memory(self, collection: str, vector: Vector, limit: int, where: Mapping[str, Json]) -> list[Match]:
        """Return the records nearest to a vector, the nearest first."""


class BaseMemory:
    """What the memory of sync and async behaviours has in common.

    Attributes:
        collection: name of the collection.
        upserted: the records this attempt wants written, by id.
        deleted: the ids of those it wants deleted.

    """

    def __init__(self, port: MemoryPort, collection: str) -> None:
        self._port = port
        self.collection = collection
        self.upserted: dict[str, Remembered] = {}
        self.deleted: set[str] = set()

    def delete(self, record_id: str) -> None:
        """Have a record deleted, with the commit of the result; a missing one is fine.

        Raises:
            InvalidArgument: this is no name, or the attempt has written or deleted a thousand others here.

        """
        self._check_id(text_of(record_id))
        self.upserted.pop(record_id, None)
        self.deleted.add(record_id)

    def _search(self, query: str | Vector, limit: int, where: Mapping[str, Json] | None) -> list[Match]:
        return self._port.search_memory(self.collection, self._vector(query), limit, copy_of(dict(where or {})))

    def _upsert(self, record_id: str, like: str | Vector, content: Json, metadata: Mapping[str, Json] | None) -> None:
        self._check_id(text_of(record_id))
        stands_for = like if content is None and isinstance(like, str) else content
        vector = self._vector(like)
        self._port.check_dimension(self.collection, len(vector))
        self.upserted[record_id] = Remembered(record_id, vector, copy_of(stands_for), copy_of(dict(metadata or {})))
        self.deleted.discard(record_id)

    def _vector(self, like: str | Vector) -> Vector:
        vector = (
            self._port.embed(self.collection, like) if isinstance(like, str) else [float(figure) for figure in like]
        )
        if not all(abs(figure) <= _LARGEST for figure in vector):
            raise InvalidArgument("vector", "has a figure that is no finite number of 32 bits")
        return vector

    def _check_id(self, record_id: str) -> None:
        """Refuse what the commit would: then all of the attempt's work would be lost."""
        check_name("record_id", record_id)
        check_length("record_id", record_id, least=1)
        written = len(self.upserted) + len(self.deleted)
        if written >= MEMORY_RECORDS and record_id not in self.upserted and record_id not in self.deleted:
            problem = f"is one more than the {MEMORY_RECORDS} records of {self.collection!r} that an attempt may write"
            raise InvalidArgument("record_id", problem)


class Memory(BaseMemory):
    """A collection, for a sync behaviour."""

    def search(self, query: str | Vector, limit: int = 10, *, where: Mapping[str, Json] | None = None) -> list[Match]:
        """Return the records nearest to a text or a vector, the nearest first.

        Args:
            query: a text, which the collection's embedder makes a vector of, or a vector.
            limit: most records to return, from 1 to 1,000.
            where: metadata that they must have.

        Raises:
            UnknownCollection, UnknownEmbedder, InvalidArgument: the error says what does not fit.

        """
        return self._search(query, limit, where)

    def upsert(
        self,
        record_id: str,
        like: str | Vector,
        content: Json = None,
        metadata: Mapping[str, Json] | None = None,
    ) -> None:
        """Have a record written, with the commit of the result; one of the same id is replaced.

        Args:
            record_id: its name in the collection.
            like: a text or a vector: what it is found by.
            content: what it stands for; a text stands for itself, if nothing is given.
            metadata: what a search can be narrowed by.

        Raises:
            UnknownCollection, UnknownEmbedder, InvalidArgument: the error says what does not fit; so does the
                thousand-and-first record that an attempt writes or deletes of one collection.

        """
        self._upsert(record_id, like, content, metadata)


class AsyncMemory(BaseMemory):
    """A collection, for an async behaviour: as `Memory`, awaited."""

    async def search(
        self, query: str | Vector, limit: int = 10, *, where: Mapping[str, Json] | None = None
    ) -> list[Match]:
        """See `Memory.search`."""
        return await to_thread(self._search, query, limit, where)

    async def upsert(
        self,
        record_id: str,
        like: str | Vector,
        content: Json = None,
        metadata: Mapping[str, Json] | None = None,
    ) -> None:
        """See `Memory.upsert`."""
        await to_thread(self._upsert, record_id, like, content, metadata)
