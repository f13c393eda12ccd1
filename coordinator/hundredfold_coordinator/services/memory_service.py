"""`MemoryService`: vector memory, for clients."""

from typing import Any

from hundredfold.errors import PayloadTooLarge
from hundredfold.stores.contract import Batch, Write
from hundredfold.v1 import memory_pb2, memory_service_pb2_grpc
from hundredfold.v1 import memory_service_pb2 as pb

from hundredfold_coordinator.core.door import shut
from hundredfold_coordinator.core.state import State
from hundredfold_coordinator.deletions import Deletions
from hundredfold_coordinator.memory import Memory
from hundredfold_coordinator.storage import Storage
from hundredfold_coordinator.to_its_end import to_its_end


class MemoryService(memory_service_pb2_grpc.MemoryServiceServicer):
    """See `proto/hundredfold/v1/memory_service.proto`."""

    def __init__(
        self, state: State, storage: Storage, memory: Memory, deletions: Deletions, max_payload_bytes: int
    ) -> None:
        self._state = state
        self._storage = storage
        self._memory = memory
        self._deletions = deletions
        self._max_payload_bytes = max_payload_bytes

    async def CreateCollection(self, request: pb.CreateCollectionRequest, context: Any) -> pb.CreateCollectionResponse:
        """See the proto."""
        self._admit()
        return pb.CreateCollectionResponse(collection=await self._memory.create(request.collection))

    async def ListCollections(self, request: pb.ListCollectionsRequest, context: Any) -> pb.ListCollectionsResponse:
        """See the proto."""
        return pb.ListCollectionsResponse(collections=await self._memory.all())

    async def DeleteCollection(self, request: pb.DeleteCollectionRequest, context: Any) -> pb.DeleteCollectionResponse:
        """See the proto."""
        self._admit(frees_room=True)

        async def delete() -> None:
            await self._memory.delete(request.name)
            self._deletions.begin()

        await to_its_end(delete())
        return pb.DeleteCollectionResponse()

    async def WriteMemory(self, request: pb.WriteMemoryRequest, context: Any) -> pb.WriteMemoryResponse:
        """See the proto."""
        self._admit(frees_room=not request.writes.upsert)
        if request.writes.ByteSize() > self._max_payload_bytes:
            raise PayloadTooLarge("writes", request.writes.ByteSize(), self._max_payload_bytes)
        await self._memory.writing(self._write(request.writes))
        return pb.WriteMemoryResponse()

    async def _write(self, wanted: memory_pb2.MemoryWrites) -> None:
        records = await self._memory.records("writes", wanted)
        for _, vector in records:
            if vector:
                vector.record.update_time.GetCurrentTime()
        # Not through the journal: no decision follows from it, so it need not wait for room either.
        writes = [Write(key, vector.SerializeToString() if vector else None) for key, vector in records]
        await self._storage.commit([Batch(writes)], wait_for_room=not wanted.upsert)

    def _admit(self, *, frees_room: bool = False) -> None:
        if refused := shut(self._state, frees_room=frees_room):
            raise refused

    async def SearchMemory(self, request: pb.SearchMemoryRequest, context: Any) -> pb.SearchMemoryResponse:
        """See the proto."""
        return pb.SearchMemoryResponse(matches=await self._memory.search(request.query))
