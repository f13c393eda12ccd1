"""The host's line to the coordinator: one stream, made again whenever it breaks.

Numbered reports are kept until they are acknowledged and are sent again on every new stream, so a coordinator that
restarts misses nothing; the other ones are lost with their stream. The end of a stream says nothing about the life of
the coordinator: only how long there has been none does.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import grpc
from hundredfold.internal.v1 import host_service_pb2 as pb
from hundredfold.internal.v1 import host_service_pb2_grpc

_RECONNECT_SECONDS: Final = 0.1
_CROWD: Final = 1000
_OPTIONS: Final = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    # Also the time that a connection attempt may take: a busy coordinator accepts late.
    ("grpc.min_reconnect_backoff_ms", 5000),
    ("grpc.max_reconnect_backoff_ms", 300),
    # A coordinator that is stopped takes what is sent to it, and says nothing.
    ("grpc.keepalive_time_ms", 5000),
    ("grpc.keepalive_timeout_ms", 5000),
    ("grpc.http2.ping_timeout_ms", 5000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)


class Link:
    """A stream that heals.

    Args:
        address: of the coordinator's worker socket.
        secret: what the coordinator knows this host by.
        hello: called for the first report of every stream.
        on_commands: called with every batch of commands.

    """

    def __init__(
        self,
        address: str,
        secret: str,
        hello: Callable[[], pb.Hello],
        on_commands: Callable[[pb.AttachResponse], Awaitable[None]],
    ) -> None:
        self._address = address
        self._metadata = (("authorization", f"Bearer {secret}"),)
        self._hello = hello
        self._on_commands = on_commands
        self._number = 0
        self._unacknowledged: dict[int, pb.HostReport] = {}
        self._outgoing: list[pb.HostReport] = []
        self._wake = asyncio.Event()
        self._attached_at = time.monotonic()
        self.refused = False

    def report(self, report: pb.HostReport) -> None:
        """Send a report until it is acknowledged."""
        self._number += 1
        report.number = self._number
        self._unacknowledged[self._number] = report
        self.mention(report)

    def mention(self, report: pb.HostReport) -> None:
        """Send a report that may be lost."""
        self._outgoing.append(report)
        self._wake.set()

    @property
    def crowded(self) -> bool:
        """Whether so much waits for a coordinator that does not read that what can be lost had better be."""
        return len(self._outgoing) > _CROWD

    def acknowledge(self, number: int) -> None:
        """Forget the reports up to `number`."""
        while self._unacknowledged and (oldest := next(iter(self._unacknowledged))) <= number:
            del self._unacknowledged[oldest]

    @property
    def idle(self) -> bool:
        """Whether everything that was to be delivered has been."""
        return not self._unacknowledged

    @property
    def alone_seconds(self) -> float:
        """How long there has been no coordinator; 0 while there is one."""
        return time.monotonic() - self._attached_at if self._attached_at else 0

    async def run(self) -> None:
        """Attach, and attach again, until the coordinator refuses this host."""
        async with grpc.aio.insecure_channel(self._address, _OPTIONS) as channel:
            stub = host_service_pb2_grpc.HostServiceStub(channel)
            while not self.refused:
                try:
                    await self._attach(stub)
                except grpc.aio.AioRpcError as error:
                    self.refused = error.code() is grpc.StatusCode.UNAUTHENTICATED
                self._attached_at = self._attached_at or time.monotonic()
                await asyncio.sleep(_RECONNECT_SECONDS)

    async def _attach(self, stub: "host_service_pb2_grpc.HostServiceAsyncStub") -> None:
        self._outgoing = [pb.HostReport(hello=self._hello()), *self._unacknowledged.values()]
        # An event of its own for each stream: gRPC may still be asking the last one for its next batch.
        self._wake.set()
        self._wake = asyncio.Event()
        self._wake.set()
        async for commands in stub.Attach(self._batches(self._wake), metadata=self._metadata):
            self._attached_at = 0
            await self._on_commands(commands)

    async def _batches(self, wake: asyncio.Event) -> AsyncIterator[pb.AttachRequest]:
        while wake is self._wake:
            await wake.wait()
            wake.clear()
            if wake is not self._wake:
                return
            reports, self._outgoing = self._outgoing, []
            if reports:
                yield pb.AttachRequest(reports=reports)
