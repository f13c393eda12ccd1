"""The far end of a context: where what a behaviour reads comes from, and where what it writes goes.

Sizes are checked here, where the behaviour can see the error.
"""

from collections.abc import Mapping
from typing import Final, Protocol

from hundredfold.embedder import Embedder
from hundredfold.errors import InvalidArgument, PayloadTooLarge, UnknownEmbedder
from hundredfold.memory import Match, Vector
from hundredfold.session import Item, Json
from hundredfold.v1 import memory_pb2, payload_pb2
from hundredfold.v1 import worker_service_pb2 as pb
from hundredfold.wire import item_of, json_of, match_of, texts_of

from hundredfold_worker.outbox import Outbox

_JSON: Final = "application/json"
_ITEMS: Final = 10_000


class Coordinator(Protocol):
    """The coordinator, as an attempt sees it; `hundredfold_worker.channel.Channel` is the real one."""

    def next_attempt(self) -> pb.NextAttemptResponse:
        """Take the attempt."""

    def emit(self, request: pb.EmitEventsRequest) -> pb.EmitEventsResponse:
        """Record events."""

    def save_checkpoint(self, request: pb.SaveCheckpointRequest) -> None:
        """Save a checkpoint."""

    def read_session(self, request: pb.ReadSessionRequest) -> pb.ReadSessionResponse:
        """Return items of the session."""

    def find_items(self, request: pb.FindItemsRequest) -> pb.FindItemsResponse:
        """Return the items of the session that have every word of a query."""

    def collection(self, request: pb.GetCollectionRequest) -> pb.GetCollectionResponse:
        """Return a collection."""

    def find_memory(self, request: pb.FindMemoryRequest) -> pb.FindMemoryResponse:
        """Return the records of a collection nearest to a vector."""

    def complete(self, request: pb.CompleteAttemptRequest) -> pb.NextAttemptResponse:
        """Record the result; return the next attempt, if there is one."""

    def fail(self, request: pb.FailAttemptRequest) -> pb.NextAttemptResponse:
        """Record a failure; return the next attempt, if there is one."""


class ContextPort:
    """The far end of the context of one attempt."""

    def __init__(
        self, channel: Coordinator, assignment: pb.NextAttemptResponse, embedders: Mapping[str, Embedder]
    ) -> None:
        self._channel = channel
        self._limit = assignment.max_payload_bytes
        self._embedders = embedders
        self._collections: dict[str, memory_pb2.Collection] = {}
        self.outbox = Outbox(channel.emit, assignment.event_quota)

    def emit(self, value: object) -> None:
        """See `hundredfold.context.Port`."""
        data = json_of(value)
        self.check_size("event", len(data))
        self.outbox.add(data)

    def save_checkpoint(self, value: object) -> None:
        """See `hundredfold.context.Port`."""
        data = json_of(value)
        self.check_size("checkpoint", len(data))
        self._channel.save_checkpoint(pb.SaveCheckpointRequest(checkpoint=payload_of(data)))

    def read_items(self, after: int, limit: int) -> list[Item]:
        """See `hundredfold.session.SessionReader`."""
        request = pb.ReadSessionRequest(after=after, limit=min(limit, _ITEMS))
        return [item_of(item) for item in self._channel.read_session(request).items]

    def find_items(self, query: str, limit: int, role: str) -> list[Item]:
        """See `hundredfold.session.SessionReader`."""
        request = pb.FindItemsRequest(query=query, limit=limit, role=role)
        return [item_of(item) for item in self._channel.find_items(request).items]

    def embed(self, collection: str, text: str) -> Vector:
        """See `hundredfold.memory.MemoryPort`."""
        found = self._collection(collection)
        if not found.embedder:
            raise InvalidArgument("collection", f"{collection!r} has no embedder; give a vector instead of a text")
        if found.embedder not in self._embedders:
            raise UnknownEmbedder(found.embedder, ", ".join(sorted(self._embedders)) or "none")
        embedder = self._embedders[found.embedder]
        if embedder.dimension != found.dimension:
            problem = f"{collection!r} has {found.dimension} figures, and its embedder {embedder.name!r} makes"
            raise InvalidArgument("collection", f"{problem} {embedder.dimension}")
        (vector,) = embedder.embed([text])
        return vector

    def check_dimension(self, collection: str, dimension: int) -> None:
        """See `hundredfold.memory.MemoryPort`."""
        wanted = self._collection(collection).dimension
        if dimension != wanted:
            raise InvalidArgument("vector", f"has {dimension} figures, and those of {collection!r} have {wanted}")

    def search_memory(self, collection: str, vector: Vector, limit: int, where: Mapping[str, Json]) -> list[Match]:
        """See `hundredfold.memory.MemoryPort`."""
        query = memory_pb2.MemoryQuery(collection=collection, vector=vector, limit=limit, where=texts_of(where))
        found = self._channel.find_memory(pb.FindMemoryRequest(query=query)).matches
        return [match_of(match) for match in found]

    def check_size(self, field: str, size: int) -> None:
        """Refuse what the coordinator would not take.

        Raises:
            PayloadTooLarge: it is too large.

        """
        if size > self._limit:
            raise PayloadTooLarge(field, size, self._limit)

    def _collection(self, name: str) -> memory_pb2.Collection:
        if name not in self._collections:
            self._collections[name] = self._channel.collection(pb.GetCollectionRequest(name=name)).collection
        return self._collections[name]


def payload_of(data: bytes) -> payload_pb2.Payload:
    """Return JSON text as a payload."""
    return payload_pb2.Payload(content_type=_JSON, data=data)
