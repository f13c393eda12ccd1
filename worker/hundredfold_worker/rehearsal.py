"""A rehearsal in the zygote: one attempt after the other, with a socket pair in place of the coordinator.

The interpreter adapts its bytecode to what it sees while it runs, and fills caches. Whatever is written here is shared
by all workers; whatever is not is copied by each of them, page by page, at about 3 µs a page.
"""

import signal
import socket
import struct
from typing import Any, Final

from google.protobuf.message import Message
from hpack import Encoder
from hundredfold.behaviour import Behaviour
from hundredfold.context import Context, SyncContext
from hundredfold.v1 import worker_service_pb2 as pb

from hundredfold_worker import http2
from hundredfold_worker.channel import Channel
from hundredfold_worker.shift import work

_REPETITIONS: Final = 30


def rehearse() -> None:
    """Run a sync and an async behaviour a few times."""

    async def play(ctx: Context, text: str) -> dict[str, Any]:
        return {ctx.task_id: text}

    def play_sync(ctx: SyncContext, text: str) -> dict[str, Any]:
        return {ctx.task_id: text}

    pieces: dict[str, Behaviour[..., Any]] = {
        "async": Behaviour(play, name="async"),
        "sync": Behaviour(play_sync, name="sync"),
    }
    for name, piece in pieces.items():
        piece.prepare("rehearsal")
        for _ in range(_REPETITIONS):
            _run_attempt(name, pieces)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a finished attempt leaves it ignored


def _run_attempt(name: str, pieces: dict[str, Behaviour[..., Any]]) -> None:
    attempt = pb.NextAttemptResponse(task_id="0", attempt=1, behaviour=name, token="0" * 64, max_payload_bytes=1024)
    attempt.input.data = b'{"text": "rehearsal"}'
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(_answers(attempt, pb.CompleteAttemptResponse()))
        channel = Channel("", "credential", lambda: ours)
        work(channel, pieces, {}, lambda _what: None)
        channel.close()


def _answers(*messages: Message) -> bytes:
    """Return what a gRPC server would send, were these its answers to the first calls."""
    encoder = Encoder()
    sent = [
        http2.frame(http2.SETTINGS, 0, 0, struct.pack("!HI", 4, 1 << 20)),
        http2.frame(http2.WINDOW_UPDATE, 0, 0, struct.pack("!I", 1 << 20)),
        http2.frame(http2.PING, 0, 0, bytes(8)),
    ]
    for call, message in enumerate(messages):
        data, stream = message.SerializeToString(), 2 * call + 1
        headers = encoder.encode([(b":status", b"200"), (b"content-type", b"application/grpc")])
        trailers = encoder.encode([(b"grpc-status", b"0"), (b"grpc-message", b"")])
        sent += [
            http2.frame(http2.HEADERS, http2.END_HEADERS, stream, headers),
            http2.frame(http2.DATA, 0, stream, struct.pack("!BI", 0, len(data)) + data),
            http2.frame(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, stream, trailers),
        ]
    return b"".join(sent)
