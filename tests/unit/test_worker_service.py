"""Shows that nobody who says something again is answered before what it said first is durable."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from typing import Any, cast

import pytest
from hundredfold.errors import StaleAttempt
from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import attempt_pb2, payload_pb2, task_pb2
from hundredfold.v1 import worker_service_pb2 as pb
from hundredfold_coordinator.contexts import Contexts
from hundredfold_coordinator.core import effects, events
from hundredfold_coordinator.core.decide import decide
from hundredfold_coordinator.core.state import Limits, State
from hundredfold_coordinator.hosts import Hosts
from hundredfold_coordinator.journal import Journal
from hundredfold_coordinator.memory import Memory
from hundredfold_coordinator.services.worker_service import WorkerService
from hundredfold_coordinator.sessions import Sessions
from hundredfold_coordinator.storage import Storage

from tests.unit.test_journal import HeldStorage, settle

POOL = task_pb2.STRATEGY_POOL


class NoSessions:
    """What tasks without one need of sessions."""

    async def write(self, _session_id: str, writer: Callable[[records_pb2.SessionRecord], Any]) -> Any:
        return await writer(records_pb2.SessionRecord())


class Caller:
    """A call of the worker of the one attempt."""

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", "Bearer token"),)


class House:
    """A service whose one worker, which stays, is at the attempt of task `t1`; commits are released by hand."""

    def __init__(self) -> None:
        self.state = State(Limits(), lambda: "credential", lambda: 1.0)
        self.storage = HeldStorage()
        self.journal = Journal(self.state, cast("Storage", self.storage), perform)
        nothing = cast("Memory", None), cast("Contexts", None)
        self.service = WorkerService(
            self.state, self.journal, cast("Hosts", None), cast("Sessions", NoSessions()), *nothing, 1000
        )
        spec = task_pb2.TaskSpec(behaviour="b", environment="default", strategy=POOL)
        wanted = {"spec": spec, "request_id": "", "digest": b"", "stored": None, "reply": None}
        self.tell(events.HostAttached, host="h", inventory=[])
        self.tell(events.EnvironmentChanged, host="h", environment="default", ready=True)
        self.tell(events.Submitted, task_id="t1", **wanted)
        hashes = {f"{name}_hash": sha256(name.encode()).digest() for name in ("credential", "token")}
        self.tell(events.Taken, process=None, reply=None, **hashes)
        self.running = asyncio.ensure_future(self.journal.run())

    def tell(self, kind: Callable[..., events.Event], **fields: Any) -> None:
        """Have something happen that is durable already."""
        decide(self.state, kind(now_ns=time.time_ns(), **fields))

    def complete(self, result: bytes = b"1") -> asyncio.Future[pb.CompleteAttemptResponse]:
        request = pb.CompleteAttemptRequest(result=payload_pb2.Payload(data=result), next=True)
        return asyncio.ensure_future(self.service.CompleteAttempt(request, Caller()))

    def fail(self) -> asyncio.Future[pb.FailAttemptResponse]:
        failure = attempt_pb2.Failure(outcome=attempt_pb2.ATTEMPT_OUTCOME_RAISED, type="E", non_retryable=True)
        request = pb.FailAttemptRequest(failure=failure, next=True)
        return asyncio.ensure_future(self.service.FailAttempt(request, Caller()))


def perform(effect: effects.Effect) -> None:
    if isinstance(effect, effects.Reply) and isinstance(effect.to, asyncio.Future):
        effect.to.set_result(effect.value)
    elif isinstance(effect, effects.Refuse) and isinstance(effect.to, asyncio.Future):
        effect.to.set_exception(effect.error)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    house.running.cancel()
    await asyncio.gather(house.running, return_exceptions=True)


@pytest.mark.parametrize("say", [House.complete, House.fail])
async def test_a_repetition_is_answered_when_what_it_repeats_is_durable(
    house: House, say: Callable[[House], asyncio.Future[Any]]
) -> None:
    first = say(house)
    await settle()
    assert "t1" not in house.state.tasks
    again = say(house)
    await settle()
    assert not first.done()
    assert not again.done()
    await house.storage.release()
    assert (first.result().next, again.result().next) == (pb.NextAttemptResponse(stay=True),) * 2


async def test_another_result_of_a_task_that_is_over_is_refused(house: House) -> None:
    first = house.complete()
    await settle()
    other = house.complete(b"2")
    await house.storage.release()
    assert first.result().next.stay
    assert isinstance(other.exception(), StaleAttempt)
