"""Speaks the worker protocol byte by byte, in place of workers that stand aside (`stand_in_agents.py`)."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.unknown_fields import UnknownFieldSet
from hundredfold import SyncClient
from hundredfold.client.rpc_error import from_rpc_error
from hundredfold.testing.coordinator import CoordinatorProcess, eventually
from hundredfold.v1 import attempt_pb2
from hundredfold.v1 import worker_service_pb2 as pb

AGENTS = Path(__file__).parent / "stand_in_agents.py"
RECORDED = json.loads((Path(__file__).parent / "recorded" / "worker_v1.json").read_text())
NEXT_ATTEMPT: Mapping[str, int] = RECORDED["answers"]["NextAttempt"]
READS = ("ReadSession", "FindItems", "GetCollection", "FindMemory")
METHODS = ("NextAttempt", "EmitEvents", "SaveCheckpoint", "CompleteAttempt", "FailAttempt", *READS)


def fields(data: bytes) -> dict[int, list[Any]]:
    """Return what is in a message by field number, without today's idea of what that means."""
    found: dict[int, list[Any]] = {}
    for one in UnknownFieldSet(Empty.FromString(data)):
        found.setdefault(one.field_number, []).append(one.data)
    return found


@dataclass
class StandIn:
    """Stands in for the worker of one attempt; what it says is bytes.

    Attributes:
        credential: what the real worker was given.
        token: what it has for everything but `NextAttempt`, once that was answered.

    """

    channel: grpc.Channel
    credential: str
    attempt: attempt_pb2.Attempt
    token: str = ""
    taken: dict[int, list[Any]] = field(default_factory=dict)

    def say(self, method: str, data: bytes, secret: str | None = None) -> bytes:
        """Make a call; return the answer, or raise the typed error."""
        if secret is None:
            secret = self.credential if method == "NextAttempt" else self.token
        call = self.channel.unary_unary(f"/hundredfold.v1.WorkerService/{method}")
        try:
            answer: bytes = call(data, metadata=(("authorization", f"Bearer {secret}"),), timeout=20)
        except grpc.RpcError as error:
            raise from_rpc_error(error, "worker.sock") from None
        if method == "NextAttempt":
            self.taken = fields(answer)
            self.token = self.taken[NEXT_ATTEMPT["token"]][0].decode()
        return answer

    def take(self) -> "StandIn":
        """Take the attempt, as a worker of today does."""
        self.say("NextAttempt", pb.NextAttemptRequest(protocol_version=1).SerializeToString())
        return self

    def answered(self, name: str) -> Any:
        """Return what `NextAttempt` has answered in a field; None if it is absent."""
        return self.taken.get(NEXT_ATTEMPT[name], [None])[0]


@dataclass
class Stage:
    """A coordinator whose workers all stand aside."""

    client: SyncClient
    channel: grpc.Channel
    data_dir: Path

    def submit(self, **how: Any) -> str:
        """Submit a task for a stand-in."""
        return self.client.submit("anything", {"text": "hello"}, **how).id

    def stand_in(self, task_id: str, number: int = 1) -> StandIn:
        """Wait for an attempt, and return who speaks for it."""
        eventually(lambda: len(self.client.get(task_id).attempts) >= number, what=f"attempt {number}")
        eventually(lambda: self.client.get(task_id).attempts[number - 1].pid, what="its process")
        attempt = self.client.get(task_id).attempts[number - 1]
        path = self.data_dir / f"credential-{attempt.pid}"
        eventually(path.exists, what="its credential")
        return StandIn(self.channel, path.read_text(), attempt)

    def record(self, task_id: str) -> tuple[bytes, list[bytes]]:
        """Return all that is recorded of a task, for comparison; its receipts come when they like."""
        task = self.client.get(task_id)
        for attempt in task.attempts:
            attempt.ClearField("receipt")
        events = [event.SerializeToString() for event in self.client.watch(task_id)]
        return task.SerializeToString(deterministic=True), events


@contextmanager
def stage(start: Callable[..., CoordinatorProcess], *arguments: str, **how: Any) -> Iterator[Stage]:
    """Start a coordinator whose workers all stand aside."""
    process = start("--plugin", str(AGENTS), *arguments, **how)
    with process.client() as client, grpc.insecure_channel(f"unix:{process.data_dir}/worker.sock") as channel:
        yield Stage(client, channel, process.data_dir)
