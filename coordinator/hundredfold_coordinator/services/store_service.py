"""`StoreService`: looking after the store while it is in use."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

from hundredfold.errors import InvalidArgument, PermissionDenied
from hundredfold.v1 import store_service_pb2 as pb
from hundredfold.v1 import store_service_pb2_grpc

from hundredfold_coordinator.consistency import Check
from hundredfold_coordinator.export import exported, read_page
from hundredfold_coordinator.services.portions import portions
from hundredfold_coordinator.storage import Storage


class StoreService(store_service_pb2_grpc.StoreServiceServicer):
    """See `proto/hundredfold/v1/store_service.proto`."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def CheckStore(self, request: pb.CheckStoreRequest, context: Any) -> pb.CheckStoreResponse:
        """See the proto."""
        check = Check()
        for look in check.looks():
            await self._storage.look(look)
        return check_response(check)

    async def BackupStore(self, request: pb.BackupStoreRequest, context: Any) -> pb.BackupStoreResponse:
        """See the proto."""
        if not context.peer().startswith("unix:"):
            raise PermissionDenied("backups are made over the local socket only")
        path = Path(request.path)
        if not path.is_absolute():
            raise InvalidArgument("path", f"is {request.path!r} and must be absolute")
        await self._storage.back_up(path)
        return pb.BackupStoreResponse(path=str(path), size_bytes=path.stat().st_size)

    async def ExportStore(self, request: pb.ExportStoreRequest, context: Any) -> AsyncIterator[pb.ExportStoreResponse]:
        """See the proto."""
        after = b""
        while entries := await self._storage.look(partial(read_page, after=after)):
            for records in portions(exported(entries)):
                yield pb.ExportStoreResponse(records=records)
            after = entries[-1].key


def check_response(check: Check) -> pb.CheckStoreResponse:
    """Return what a check has found."""
    counts = [pb.RecordCount(kind=kind, count=count) for kind, count in sorted(check.counts.items())]
    return pb.CheckStoreResponse(counts=counts, problems=check.problems, problem_count=check.problem_count)
