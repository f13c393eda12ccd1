"""Vector memory, for clients: `client.memory`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from hundredfold.bounds import MEMORY_RECORDS
from hundredfold.client.sessions import Caller
from hundredfold.errors import InvalidArgument
from hundredfold.memory import Collection, Match, Remembered, Vector
from hundredfold.session import Json
from hundredfold.v1 import memory_pb2, memory_service_pb2_grpc
from hundredfold.v1 import memory_service_pb2 as pb
from hundredfold.wire import collection_of, match_of, record_message, texts_of

_BATCH_BYTES: Final = 2 << 20
_Changes = list[memory_pb2.MemoryRecord | str]


class MemoryCalls:
    """The calls of `MemoryService`."""

    def __init__(self, channel: Any, call: Caller) -> None:
        self._stub: Any = memory_service_pb2_grpc.MemoryServiceStub(channel)
        self._call = call

    async def create(
        self, name: str, dimension: int, *, distance: str = "cosine", embedder: str = "", tenant: str = ""
    ) -> Collection:
        """Make a collection; one that is the same already is returned.

        Args:
            name: its name.
            dimension: number of figures of its vectors, from 1 to 4,096.
            distance: `cosine`, `euclidean` or `dot`.
            embedder: what agents make its vectors of texts with.
            tenant: whose tasks may use it; empty for those of all.

        Raises:
            CollectionExists: there is another one of that name.
            InvalidArgument: names the field that does not fit, an embedder that no environment has among them.

        """
        collection = memory_pb2.Collection(
            name=name, dimension=dimension, distance=_distance(distance), embedder=embedder, tenant=tenant
        )
        request = pb.CreateCollectionRequest(collection=collection)
        response: pb.CreateCollectionResponse = await self._call(self._stub.CreateCollection, request)
        return collection_of(response.collection)

    async def list(self) -> Sequence[Collection]:
        """Return the collections, by name."""
        response: pb.ListCollectionsResponse = await self._call(self._stub.ListCollections, pb.ListCollectionsRequest())
        return [collection_of(collection) for collection in response.collections]

    async def delete(self, name: str) -> None:
        """Delete a collection with all of its records.

        Raises:
            UnknownCollection: there is none.

        """
        await self._call(self._stub.DeleteCollection, pb.DeleteCollectionRequest(name=name))

    async def write(self, collection: str, records: Iterable[Remembered] = (), *, delete: Sequence[str] = ()) -> None:
        """Write and delete records, a thousand in one commit.

        Raises:
            UnknownCollection: there is no such collection.
            InvalidArgument: a record does not fit it.
            TypeError, ValueError: a value is no JSON.

        """
        for some in _portions([*map(record_message, records), *delete]):
            writes = memory_pb2.MemoryWrites(
                collection=collection,
                upsert=[one for one in some if not isinstance(one, str)],
                delete=[one for one in some if isinstance(one, str)],
            )
            await self._call(self._stub.WriteMemory, pb.WriteMemoryRequest(writes=writes))

    async def search(
        self, collection: str, vector: Vector, limit: int = 10, *, where: Mapping[str, Json] | None = None
    ) -> Sequence[Match]:
        """Return the records nearest to a vector, the nearest first; only those with all metadata of `where`.

        Raises:
            UnknownCollection: there is no such collection.
            InvalidArgument: the vector does not fit it.

        """
        query = memory_pb2.MemoryQuery(collection=collection, vector=vector, limit=limit, where=texts_of(where or {}))
        response: pb.SearchMemoryResponse = await self._call(
            self._stub.SearchMemory, pb.SearchMemoryRequest(query=query)
        )
        return [match_of(match) for match in response.matches]


def _portions(changes: "_Changes") -> "Iterator[_Changes]":
    """Yield changes in lists of at most a thousand and about 2 MiB, so that each is accepted."""
    some: _Changes = []
    size = 0
    for change in changes:
        weight = len(change) if isinstance(change, str) else change.ByteSize()
        if some and (len(some) == MEMORY_RECORDS or size + weight > _BATCH_BYTES):
            yield some
            some, size = [], 0
        some.append(change)
        size += weight
    if some:
        yield some


def _distance(name: str) -> memory_pb2.Distance.ValueType:
    names = {one.removeprefix("DISTANCE_").lower(): one for one in memory_pb2.Distance.keys()}  # noqa: SIM118  # no mapping
    del names["unspecified"]
    if name not in names:
        raise InvalidArgument("distance", f"is {name!r} and must be one of: {', '.join(names)}")
    return memory_pb2.Distance.Value(names[name])
