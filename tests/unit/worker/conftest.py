"""A stage for one attempt: a coordinator that gives an assignment and keeps what comes back."""

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pytest
from hundredfold import Behaviour
from hundredfold.v1 import attempt_pb2, session_pb2
from hundredfold.v1 import worker_service_pb2 as pb
from hundredfold_worker.runner import run_attempt


@dataclass
class FakeCoordinator:
    """The coordinator of one attempt; `before` is called before it takes anything."""

    assignment: pb.NextAttemptResponse
    before: Callable[[], object]
    completed: list[pb.CompleteAttemptRequest] = field(default_factory=list)
    failed: list[pb.FailAttemptRequest] = field(default_factory=list)
    checkpoints: list[Any] = field(default_factory=list)

    def next_attempt(self) -> pb.NextAttemptResponse:
        return self.assignment

    def emit(self, request: pb.EmitEventsRequest) -> NoReturn:
        raise AssertionError(f"no test runs long enough for {request}")

    def save_checkpoint(self, request: pb.SaveCheckpointRequest) -> None:
        self.before()
        self.checkpoints.append(json.loads(request.checkpoint.data))

    def complete(self, request: pb.CompleteAttemptRequest) -> pb.NextAttemptResponse:
        self.before()
        self.completed.append(request)
        return pb.NextAttemptResponse()

    def fail(self, request: pb.FailAttemptRequest) -> pb.NextAttemptResponse:
        self.before()
        self.failed.append(request)
        return pb.NextAttemptResponse()


@dataclass
class Run:
    """What came of one attempt."""

    coordinator: FakeCoordinator
    delivered: bool

    @property
    def result(self) -> Any:
        (request,) = self.coordinator.completed
        assert self.delivered
        assert self.coordinator.failed == []
        assert request.result.content_type == "application/json"
        return json.loads(request.result.data)

    @property
    def failure(self) -> attempt_pb2.Failure:
        (request,) = self.coordinator.failed
        assert not self.delivered
        assert self.coordinator.completed == []
        return request.failure

    @property
    def events(self) -> list[Any]:
        events = [event for request in self.coordinator.completed for event in request.events]
        events += [event for request in self.coordinator.failed for event in request.events]
        assert [event.worker_sequence for event in events] == list(range(1, len(events) + 1))
        return [json.loads(event.payload.data) for event in events]

    @property
    def writes(self) -> session_pb2.SessionWrites:
        (request,) = self.coordinator.completed
        return request.session_writes


class Stage:
    """Runs attempts of functions; `coordinator` is that of the last one."""

    def __init__(self) -> None:
        self.coordinator = FakeCoordinator(pb.NextAttemptResponse(), before=lambda: None)
        self.before: Callable[[], object] = lambda: None

    def __call__(self, function: Callable[..., Any] | None, value: Any = None, **assignment: Any) -> Run:
        """Run an attempt of `function`, which its environment does not have if it is None."""
        given = {
            "task_id": "t1",
            "attempt": 2,
            "behaviour": "agent",
            "max_payload_bytes": 1000,
            "event_quota": 100,
            **assignment,
        }
        self.coordinator = FakeCoordinator(pb.NextAttemptResponse(**given), self.before)
        self.coordinator.assignment.input.data = json.dumps({} if value is None else value).encode()
        behaviours: dict[str, Behaviour[..., Any]] = {}
        if function:
            behaviours["agent"] = Behaviour(function, name="agent")
            behaviours["agent"].prepare("test")
        delivered, _ = run_attempt(self.coordinator, self.coordinator.assignment, behaviours)
        return Run(self.coordinator, delivered)


@pytest.fixture
def run() -> Iterator[Stage]:
    """A stage; SIGTERM means again afterwards what it meant, for a worker ends with it ignored."""
    before = signal.getsignal(signal.SIGTERM)
    yield Stage()
    signal.signal(signal.SIGTERM, before)
