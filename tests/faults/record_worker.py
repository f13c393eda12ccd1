"""Records what a worker of today says, byte by byte, for `test_version_skew.py`.

    python tests/faults/record_worker.py > tests/faults/recorded/worker_v1.json

It is the worker's own code, with answers made up in place of a coordinator. A recording is never made again for the
same protocol version: it stands for the workers that are out there.
"""

import json
import sys
from typing import Any

from google.protobuf.message import Message
from hundredfold import NonRetryable, SyncContext
from hundredfold.behaviour import Behaviour
from hundredfold.v1 import session_pb2
from hundredfold.v1 import worker_service_pb2 as pb
from hundredfold_worker import runner
from hundredfold_worker.channel import PROTOCOL_VERSION, Channel
from hundredfold_worker.shift import work
from hundredfold_worker.transport import Reply


class Recorder:
    """Stands for a worker's connection: writes calls down, and gives each the answer it needs."""

    def __init__(self, behaviour: str) -> None:
        session = session_pb2.Session(id="s")
        attempt = pb.NextAttemptResponse(task_id="0", attempt=1, behaviour=behaviour, token="t", session=session)
        attempt.max_payload_bytes, attempt.event_quota, attempt.input.data = 1 << 20, 100, b'{"text": "hello"}'
        self._attempt = attempt.SerializeToString()
        self.calls: list[dict[str, str]] = []

    def call(self, method: str, request: bytes, _secret: str) -> Reply:
        """Answer a call."""
        name = method.rpartition("/")[2]
        self.calls.append({"method": name, "bytes": request.hex()})
        return Reply(0, data=self._attempt if name == "NextAttempt" else b"")


def complete(ctx: SyncContext, text: str) -> dict[str, Any]:
    """Say all that a worker can say, and return something."""
    ctx.emit({"said": text})
    ctx._port.outbox._send_batch()  # type: ignore[attr-defined]  # in a message of its own, whatever the time
    ctx.checkpoint({"step": 1})
    ctx.session.append("agent", text)
    ctx.session.state["last"] = text
    ctx.emit({"said": "bye"})
    return {"answer": text}


def fail(ctx: SyncContext, text: str) -> None:
    """Save a checkpoint and raise."""
    ctx.checkpoint({"step": 1})
    ctx.emit({"said": text})
    raise ValueError(text)


def give_up(text: str) -> None:
    """Raise what forbids another attempt."""
    raise NonRetryable(text)


def record(function: Any) -> list[dict[str, str]]:
    """Return the calls of one attempt."""
    name = function.__name__
    behaviour: Behaviour[..., Any] = Behaviour(function, name=name)
    behaviour.prepare("recording")
    channel, recorder = Channel("", "credential"), Recorder(name)
    channel._transport = recorder  # type: ignore[assignment]
    work(channel, {name: behaviour}, {}, lambda _what: None)
    return recorder.calls


def numbers(message: type[Message]) -> dict[str, int]:
    """Return where a worker of this version looks for the fields of an answer."""
    return {field.name: field.number for field in message.DESCRIPTOR.fields}


def main() -> None:
    """Record everything."""
    # Where this machine has its files is no part of the protocol.
    runner.traceback.format_exception = lambda error: [f"{type(error).__name__}: {error}\n"]  # type: ignore[attr-defined]
    recording = {
        "protocol_version": PROTOCOL_VERSION,
        "answers": {"NextAttempt": numbers(pb.NextAttemptResponse), "EmitEvents": numbers(pb.EmitEventsResponse)},
        "attempts": {function.__name__: record(function) for function in (complete, fail, give_up)},
    }
    json.dump(recording, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
