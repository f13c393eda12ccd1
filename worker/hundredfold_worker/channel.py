"""A worker's line to the coordinator: blocking unary gRPC calls over the worker socket.

Every call waits for a coordinator that restarts, for as long as it takes: what there is to deliver is worth more than
the process, and an orphaned worker is ended by its host. Every call is idempotent on the other side, so a lost answer
is asked for again.
"""

import os
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import grpc
from hundredfold.errors import HundredfoldError
from hundredfold.status import from_rpc_error
from hundredfold.v1 import worker_service_pb2 as pb
from hundredfold.v1 import worker_service_pb2_grpc

PROTOCOL_VERSION: Final = 1

_RETRY_SECONDS: Final = 0.1
_OPTIONS: Final = (
    # By default a restarted coordinator would be found again only after about a second.
    ("grpc.initial_reconnect_backoff_ms", 50),
    # Also the time that a connection attempt may take: a busy coordinator accepts late.
    ("grpc.min_reconnect_backoff_ms", 5000),
    ("grpc.max_reconnect_backoff_ms", 300),
    ("grpc.enable_http_proxy", 0),
    # The limit that counts is the coordinator's, which names the field.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Without an own pool of subchannels and without a service config nothing global is looked up.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.service_config_disable_resolution", 1),
)
_FINAL: Final = ("ABORTED", "UNAUTHENTICATED", "PERMISSION_DENIED")

_Response = TypeVar("_Response")


class Refused(Exception):  # it is not an error of this process
    """The coordinator does not want this worker any more."""


class Channel:
    """The calls of `WorkerService`, authenticated by `credential`.

    `on_connected` is called when the attempt has been taken: gRPC has started its threads by then. With a timeout,
    calls give up after it.

    Raises:
        Refused: from every call, when this attempt is not wanted any more.
        HundredfoldError: from every call, when the coordinator refuses what was sent.

    """

    def __init__(
        self, address: str, credential: str, on_connected: Callable[[], None], timeout_seconds: float | None = None
    ) -> None:
        self._address = address
        self._timeout = timeout_seconds
        self._channel = grpc.insecure_channel(address, _OPTIONS)
        self._stub = worker_service_pb2_grpc.WorkerServiceStub(self._channel)
        self._secret = credential
        self._on_connected = on_connected

    def next_attempt(self) -> pb.NextAttemptResponse:
        """Take the attempt; all later calls are made in its name."""
        response = self._call(
            self._stub.NextAttempt, pb.NextAttemptRequest(protocol_version=PROTOCOL_VERSION, pid=os.getpid())
        )
        self._secret = response.token
        self._on_connected()
        return response

    def emit(self, request: pb.EmitEventsRequest) -> pb.EmitEventsResponse:
        """Record events."""
        return self._call(self._stub.EmitEvents, request)

    def save_checkpoint(self, request: pb.SaveCheckpointRequest) -> None:
        """Save a checkpoint."""
        self._call(self._stub.SaveCheckpoint, request)

    def complete(self, request: pb.CompleteAttemptRequest) -> None:
        """Record the result."""
        self._call(self._stub.CompleteAttempt, request)

    def fail(self, request: pb.FailAttemptRequest) -> None:
        """Record a failure."""
        self._call(self._stub.FailAttempt, request)

    def close(self) -> None:
        """Close the connection. A worker need not: its end does."""
        self._channel.close()

    def _call(self, method: Callable[..., _Response], request: Any) -> _Response:
        metadata = (("authorization", f"Bearer {self._secret}"),)
        while True:
            try:
                return method(request, metadata=metadata, wait_for_ready=True, timeout=self._timeout)
            except grpc.RpcError as error:
                self._judge(from_rpc_error(error, self._address))
            time.sleep(_RETRY_SECONDS)

    def _judge(self, error: HundredfoldError) -> None:
        if error.code in _FINAL:
            raise Refused(str(error)) from error
        if error.code != "UNAVAILABLE":
            raise error
