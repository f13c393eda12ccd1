"""A rehearsal in the zygote: one attempt after the other, against a coordinator that is not there.

The interpreter adapts its bytecode to what it sees while it runs, and fills caches. Whatever is written here is shared
by all workers; whatever is not is copied by each of them, page by page, at about 3 µs a page.
"""

import contextlib
import gc
import signal
import time
from typing import Any, Final

from hundredfold.behaviour import Behaviour
from hundredfold.context import Context, SyncContext
from hundredfold.errors import HundredfoldError
from hundredfold.v1 import worker_service_pb2 as pb

from hundredfold_worker import process
from hundredfold_worker.channel import Channel, Refused
from hundredfold_worker.runner import run_attempt

_REPETITIONS: Final = 30
_CALL_SECONDS: Final = 2.0
_THREADS_SECONDS: Final = 5.0


class _EmptyStage:
    """Answers like a channel, without a coordinator."""

    def __init__(self, behaviour: str) -> None:
        self._behaviour = behaviour

    def next_attempt(self) -> pb.NextAttemptResponse:
        response = pb.NextAttemptResponse.FromString(
            pb.NextAttemptResponse(task_id="0", attempt=1, behaviour=self._behaviour).SerializeToString()
        )
        response.input.data = b'{"text": "rehearsal"}'
        response.max_payload_bytes = 1024
        return response

    def complete(self, request: pb.CompleteAttemptRequest) -> None:
        request.SerializeToString()

    def emit(self, request: pb.EmitEventsRequest) -> pb.EmitEventsResponse:
        raise NotImplementedError

    def save_checkpoint(self, request: pb.SaveCheckpointRequest) -> None:
        raise NotImplementedError

    def fail(self, request: pb.FailAttemptRequest) -> None:
        raise RuntimeError(request.failure.message)


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
            run_attempt(_EmptyStage(name), pieces)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a finished attempt leaves it ignored


def rehearse_calls(address: str) -> bool:
    """Call the coordinator once, without a credential, and forget gRPC again; return whether nothing of it is left.

    What gRPC sets up on its first use is then shared by all workers, which saves each about a fifth of its CPU time.
    gRPC does not promise that a fork after that is sound. It is as long as no thread is left: a fork copies one thread,
    and locks that others hold for ever. See docs/adr/0008.
    """
    channel = Channel(address, "", on_connected=lambda: None, timeout_seconds=_CALL_SECONDS)
    with contextlib.suppress(Refused, HundredfoldError):
        channel.next_attempt()
    channel.close()
    del channel
    gc.collect()
    deadline = time.monotonic() + _THREADS_SECONDS
    while process.thread_count() > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    return process.thread_count() == 1
