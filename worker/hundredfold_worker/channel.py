"""A worker's line to the coordinator: the calls of `WorkerService`, blocking.

Every call waits for a coordinator that restarts, for as long as it takes: what there is to deliver is worth more than
the process, and an orphaned worker is ended by its host; one that has no host any more, either, ends itself. Every call
is idempotent on the other side, so a lost answer is asked for again. While a call lasts, the process says so in its
title, where its host looks before it ends it.
"""

import os
import socket
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2
from hundredfold.errors import HundredfoldError, SessionConflict
from hundredfold.status import from_code, from_status
from hundredfold.v1 import worker_service_pb2 as pb

from hundredfold_worker.transport import CANCELLED, OK, Reply, Transport

PROTOCOL_VERSION: Final = 1

_SERVICE: Final = pb.DESCRIPTOR.services_by_name["WorkerService"].full_name
_RETRY_SECONDS: Final = 0.1
_SILENCE_SECONDS: Final = 10.0
"""How long a coordinator may say nothing before it is looked for again: one that is stopped says nothing for ever, and
its successor is at the same address. All calls are idempotent."""
_FINAL: Final = ("ABORTED", "UNAUTHENTICATED", "PERMISSION_DENIED")

_Response = TypeVar("_Response", bound=Message)


class Refused(Exception):  # it is not an error of this process
    """The coordinator does not want this worker any more."""


class Overtaken(Refused):
    """Another task has written the session meanwhile: the attempt is over, and not the worker, if that stays."""


class Channel:
    """The calls of `WorkerService`, made as the bearer of `credential`.

    Args:
        address: of the coordinator, `unix:PATH`.
        credential: what it knows this worker by, until it has given a token for the attempt.
        on_wait: told when it begins to wait for the coordinator, and when that is over.
        is_orphan: whether there is nobody left who would end this process: then it waits for no coordinator.
        connect: returns a socket that is connected to the address; one can be given instead.

    Raises:
        Refused: from every call, when this attempt is not wanted any more.
        Overtaken: from `complete`, when its session was written before.
        HundredfoldError: from every call, when the coordinator refuses what was sent.

    """

    def __init__(
        self,
        address: str,
        credential: str,
        connect: Callable[[], socket.socket] | None = None,
        on_wait: Callable[[bool], None] = lambda _waits: None,
        is_orphan: Callable[[], bool] = lambda: False,
    ) -> None:
        self._address = address
        self._credential = self._secret = credential
        self._on_wait = on_wait
        self._is_orphan = is_orphan
        self._transport = Transport(connect or self._connect)

    def next_attempt(self) -> pb.NextAttemptResponse:
        """Take the attempt, or the next one; all later calls are made in its name. It may have no task."""
        self._secret = self._credential
        request = pb.NextAttemptRequest(protocol_version=PROTOCOL_VERSION, pid=os.getpid())
        return self._taken(self._call("NextAttempt", request, pb.NextAttemptResponse))

    def emit(self, request: pb.EmitEventsRequest) -> pb.EmitEventsResponse:
        """Record events."""
        return self._call("EmitEvents", request, pb.EmitEventsResponse)

    def save_checkpoint(self, request: pb.SaveCheckpointRequest) -> None:
        """Save a checkpoint."""
        self._call("SaveCheckpoint", request, pb.SaveCheckpointResponse)

    def read_session(self, request: pb.ReadSessionRequest) -> pb.ReadSessionResponse:
        """Return items of the session."""
        return self._call("ReadSession", request, pb.ReadSessionResponse)

    def find_items(self, request: pb.FindItemsRequest) -> pb.FindItemsResponse:
        """Return the items of the session that have every word of a query."""
        return self._call("FindItems", request, pb.FindItemsResponse)

    def collection(self, request: pb.GetCollectionRequest) -> pb.GetCollectionResponse:
        """Return a collection."""
        return self._call("GetCollection", request, pb.GetCollectionResponse)

    def find_memory(self, request: pb.FindMemoryRequest) -> pb.FindMemoryResponse:
        """Return the records of a collection nearest to a vector."""
        return self._call("FindMemory", request, pb.FindMemoryResponse)

    def complete(self, request: pb.CompleteAttemptRequest) -> pb.NextAttemptResponse:
        """Record the result; return the next attempt, if there is one."""
        return self._taken(self._call("CompleteAttempt", request, pb.CompleteAttemptResponse).next)

    def fail(self, request: pb.FailAttemptRequest) -> pb.NextAttemptResponse:
        """Record a failure; return the next attempt, if there is one."""
        return self._taken(self._call("FailAttempt", request, pb.FailAttemptResponse).next)

    def close(self) -> None:
        """Close the connection. A worker need not: its end does."""
        self._transport.close()

    def _taken(self, assignment: pb.NextAttemptResponse) -> pb.NextAttemptResponse:
        self._secret = assignment.token or self._secret
        return assignment

    def _call(self, method: str, request: Any, response: type[_Response]) -> _Response:
        self._on_wait(True)  # noqa: FBT003  # whether it waits is all there is to say
        try:
            return self._call_until_heard(method, request.SerializeToString(), response)
        finally:
            self._on_wait(False)  # noqa: FBT003

    def _call_until_heard(self, method: str, data: bytes, response: type[_Response]) -> _Response:
        while True:
            reply = self._transport.call(f"/{_SERVICE}/{method}", data, self._secret)
            if reply.code == OK:
                return response.FromString(reply.data)
            self._judge(reply)
            if self._is_orphan():
                message = "neither its host nor its coordinator is there"
                raise Refused(message)
            time.sleep(_RETRY_SECONDS)

    def _judge(self, reply: Reply) -> None:
        """Return if the call is to be made again; raise what it means if it is not."""
        error = self._error(reply)
        if isinstance(error, SessionConflict):  # whose code is that of a stale attempt
            raise Overtaken(str(error)) from error
        if error.code in _FINAL:
            raise Refused(str(error)) from error
        if error.code != "UNAVAILABLE" and reply.code != CANCELLED:  # which is what a server that stops says
            raise error

    def _error(self, reply: Reply) -> HundredfoldError:
        if reply.details:
            return from_status(status_pb2.Status.FromString(reply.details))
        return from_code(code_pb2.Code.Name(reply.code), reply.message, self._address)

    def _connect(self) -> socket.socket:
        wire = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        wire.settimeout(_SILENCE_SECONDS)
        try:
            wire.connect(self._address.removeprefix("unix:"))
        except OSError:
            wire.close()
            raise
        return wire
