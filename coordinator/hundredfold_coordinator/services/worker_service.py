"""`WorkerService`: what workers say about their attempts. Served on the worker socket only."""

import asyncio
import hmac
import time
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from typing import Any, Final

from hundredfold.errors import (
    HundredfoldError,
    InvalidArgument,
    PayloadTooLarge,
    StaleAttempt,
    Unauthenticated,
    UnknownCollection,
)
from hundredfold.identity import descends_from, identity
from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import attempt_pb2, task_pb2, worker_service_pb2_grpc
from hundredfold.v1 import worker_service_pb2 as pb

from hundredfold_coordinator.contexts import Contexts
from hundredfold_coordinator.core import events
from hundredfold_coordinator.core.resident import Next
from hundredfold_coordinator.core.state import AttemptId, State, attempt_id, current_attempt
from hundredfold_coordinator.hosts import Hosts
from hundredfold_coordinator.journal import Journal
from hundredfold_coordinator.memory import Memory, Records
from hundredfold_coordinator.services.assignment import Assignments
from hundredfold_coordinator.services.edge import bearer
from hundredfold_coordinator.services.numbers import within
from hundredfold_coordinator.services.session_service import DEFAULT_FOUND, DEFAULT_ITEMS, MOST_FOUND, MOST_ITEMS
from hundredfold_coordinator.sessions import Sessions, check_writes

PROTOCOL_VERSION: Final = 1

_PATIENCE_SECONDS: Final = 5.0
"""How long a worker that stays waits in one call at most: less than it would take silence for the coordinator's end."""
_FAILURE_BYTES: Final = 128 * 1024
_CALM_EVENTS_PER_SECOND: Final = 500
_WORKER_FAILURES: Final = frozenset({attempt_pb2.ATTEMPT_OUTCOME_RAISED, attempt_pb2.ATTEMPT_OUTCOME_INVALID_INPUT})


class WorkerService(worker_service_pb2_grpc.WorkerServiceServicer):
    """See `proto/hundredfold/v1/worker_service.proto`."""

    def __init__(
        self,
        state: State,
        journal: Journal,
        hosts: Hosts,
        sessions: Sessions,
        memory: Memory,
        contexts: Contexts,
        max_payload_bytes: int,
    ) -> None:
        self._state = state
        self._journal = journal
        self._hosts = hosts
        self._sessions = sessions
        self._memory = memory
        self._assignments = Assignments(contexts, max_payload_bytes, state.limits.event_quota)
        self._max_payload_bytes = max_payload_bytes

    async def NextAttempt(self, request: pb.NextAttemptRequest, context: Any) -> pb.NextAttemptResponse:
        """See the proto."""
        if request.protocol_version != PROTOCOL_VERSION:
            problem = f"is {request.protocol_version}; this coordinator speaks {PROTOCOL_VERSION}"
            raise InvalidArgument("protocol_version", problem)
        credential = bearer(context)
        digest = sha256(credential.encode()).digest()
        record = self._state.by_credential(digest)
        if record is None:
            return await self._await_next(digest)
        key = attempt_id(record)
        token = _token(credential, key)
        taken = self._journal.ask(
            events.Taken,
            credential_hash=digest,
            process=self._process(record, request.pid),
            token_hash=sha256(token.encode()).digest(),
        )
        assignment = await self._assignments.of(record, token)
        await taken
        return assignment

    async def EmitEvents(self, request: pb.EmitEventsRequest, context: Any) -> pb.EmitEventsResponse:
        """See the proto."""
        key = self._authenticate(context)
        self._check_events(request.events)
        await self._journal.ask(events.Emitted, attempt=key, emitted=request.events)
        response = pb.EmitEventsResponse()
        # All live attempts together may flush about as often as one core can answer.
        response.min_interval.FromMilliseconds(max(100, 1000 * len(self._state.alive) // _CALM_EVENTS_PER_SECOND))
        return response

    async def SaveCheckpoint(self, request: pb.SaveCheckpointRequest, context: Any) -> pb.SaveCheckpointResponse:
        """See the proto."""
        key = self._authenticate(context)
        self._check_size("checkpoint.data", len(request.checkpoint.data))
        await self._journal.ask(events.CheckpointSaved, attempt=key, checkpoint=request.checkpoint)
        return pb.SaveCheckpointResponse()

    async def CompleteAttempt(self, request: pb.CompleteAttemptRequest, context: Any) -> pb.CompleteAttemptResponse:
        """See the proto."""
        key = self._authenticate(context)
        await self._fail_if_oversized(key, request)
        completing = self._complete(key, request)
        answer = await (self._memory.writing(completing) if request.memory_writes else completing)
        return pb.CompleteAttemptResponse(next=await self._assignments.next(answer))

    async def _complete(self, key: AttemptId, request: pb.CompleteAttemptRequest) -> Next | None:
        record = self._state.tasks.get(key[0])
        if record is None:  # it is over; if this is what it delivered, that is answered when it is durable
            return await self._deliver(key, request, [], records_pb2.SessionRecord())
        spec = record.task.spec
        memory = await self._checked(key, request, spec.tenant)
        return await self._sessions.write(spec.session, partial(self._deliver, key, request, memory))

    async def _deliver(
        self, key: AttemptId, request: pb.CompleteAttemptRequest, memory: Records, session: records_pb2.SessionRecord
    ) -> Next | None:
        answer: Next | None = await self._journal.ask(
            events.Completed,
            attempt=key,
            result=request.result,
            session=session,
            session_writes=request.session_writes,
            emitted=request.events,
            digest=_digest(request),
            memory=memory,
            wants_next=request.next,
            cpu_time=request.cpu_time,
        )
        return answer

    async def FailAttempt(self, request: pb.FailAttemptRequest, context: Any) -> pb.FailAttemptResponse:
        """See the proto."""
        key = self._authenticate(context)
        if request.failure.outcome not in _WORKER_FAILURES:
            raise InvalidArgument("failure.outcome", "must be RAISED or INVALID_INPUT")
        self._check_events(request.events)
        if request.failure.ByteSize() > _FAILURE_BYTES:
            raise PayloadTooLarge("failure", request.failure.ByteSize(), _FAILURE_BYTES)
        answer = await self._journal.ask(
            events.Failed,
            attempt=key,
            failure=request.failure,
            emitted=request.events,
            wants_next=request.next,
            cpu_time=request.cpu_time,
        )
        return pb.FailAttemptResponse(next=await self._assignments.next(answer))

    async def ReadSession(self, request: pb.ReadSessionRequest, context: Any) -> pb.ReadSessionResponse:
        """See the proto."""
        spec = self._spec(context)
        limit = within("limit", request.limit, MOST_ITEMS, DEFAULT_ITEMS)
        return pb.ReadSessionResponse(items=await self._sessions.items(spec.session, request.after, limit))

    async def FindItems(self, request: pb.FindItemsRequest, context: Any) -> pb.FindItemsResponse:
        """See the proto."""
        spec = self._spec(context)
        limit = within("limit", request.limit, MOST_FOUND, DEFAULT_FOUND)
        return pb.FindItemsResponse(items=await self._sessions.find(spec.session, request.query, request.role, limit))

    async def GetCollection(self, request: pb.GetCollectionRequest, context: Any) -> pb.GetCollectionResponse:
        """See the proto."""
        spec = self._spec(context)
        return pb.GetCollectionResponse(collection=await self._memory.collection(request.name, spec.tenant))

    async def FindMemory(self, request: pb.FindMemoryRequest, context: Any) -> pb.FindMemoryResponse:
        """See the proto."""
        spec = self._spec(context)
        return pb.FindMemoryResponse(matches=await self._memory.search(request.query, spec.tenant))

    async def _await_next(self, credential_hash: bytes) -> pb.NextAttemptResponse:
        """Wait for the next attempt of a worker that stays, for some seconds."""
        waiting = self._journal.ask(events.Awaited, credential_hash=credential_hash)
        try:
            await asyncio.wait([waiting], timeout=self._patience(credential_hash))
        finally:  # also if the worker is gone
            if not waiting.done():
                now_ns = time.time_ns()
                self._journal.post(events.Withdrawn(now_ns=now_ns, credential_hash=credential_hash, waiter=waiting))
        return await self._assignments.next(await waiting) or pb.NextAttemptResponse()

    def _patience(self, credential_hash: bytes) -> float:
        """Return how many seconds a worker that stays waits in one call: no longer than it may be idle."""
        resident = self._state.residents.by_credential(credential_hash)
        if resident is None or resident.crew.is_long_lived:
            return _PATIENCE_SECONDS
        idle_seconds = (time.time_ns() - resident.idle_ns) / 1e9
        return min(_PATIENCE_SECONDS, max(0.0, self._state.limits.pool_idle_seconds - idle_seconds))

    def _spec(self, context: Any) -> task_pb2.TaskSpec:
        key = self._authenticate(context)
        record = self._state.tasks.get(key[0])
        if record is None:
            raise StaleAttempt(*key)
        return record.task.spec

    def _authenticate(self, context: Any) -> AttemptId:
        key = self._state.tokens.get(sha256(bearer(context).encode()).digest())
        if key is None:
            raise Unauthenticated
        return key

    def _check_events(self, emitted: Sequence[task_pb2.Emitted]) -> None:
        for index, event in enumerate(emitted):
            self._check_size(f"events[{index}].payload.data", len(event.payload.data))

    def _check_size(self, field: str, size: int) -> None:
        if size > self._max_payload_bytes:
            raise PayloadTooLarge(field, size, self._max_payload_bytes)

    async def _fail_if_oversized(self, key: AttemptId, request: pb.CompleteAttemptRequest) -> None:
        try:
            self._check_events(request.events)
            self._check_size("result.data", len(request.result.data))
            self._check_size("session_writes", request.session_writes.ByteSize())
            self._check_size("memory_writes", sum(writes.ByteSize() for writes in request.memory_writes))
        except PayloadTooLarge as error:
            await self._fail_misfit(key, request, error)
            raise

    async def _fail_misfit(self, key: AttemptId, request: pb.CompleteAttemptRequest, error: HundredfoldError) -> None:
        outcome = attempt_pb2.ATTEMPT_OUTCOME_PROTOCOL_VIOLATION
        failure = attempt_pb2.Failure(outcome=outcome, type=type(error).__name__, message=str(error))
        fitting = [event for event in request.events if len(event.payload.data) <= self._max_payload_bytes]
        await self._journal.ask(
            events.Failed,
            attempt=key,
            failure=failure,
            emitted=fitting,
            wants_next=request.next,
            cpu_time=request.cpu_time,
        )

    async def _checked(self, key: AttemptId, request: pb.CompleteAttemptRequest, tenant: str) -> Records:
        """Return what is to be written to collections; an attempt whose writes do not fit has failed with that."""
        records: Records = []
        try:
            check_writes("session_writes", request.session_writes)
            for index, writes in enumerate(request.memory_writes):
                records += await self._memory.records(f"memory_writes[{index}]", writes, tenant)
        except (InvalidArgument, UnknownCollection) as error:
            await self._fail_misfit(key, request, error)
            raise
        return records

    def _process(self, record: records_pb2.TaskRecord, pid: int) -> records_pb2.ProcessIdentity | None:
        """Return the process that a worker says it is, if its host has not told of it yet, and is above it."""
        if record.alive[len(record.task.attempts)].process.pid:
            return None
        host = self._hosts.get(current_attempt(record).host)
        return identity(pid) if host and descends_from(pid, host.pid) else None


def _digest(request: pb.CompleteAttemptRequest) -> bytes:
    """Return what a repeated delivery is recognised by."""
    digest = sha256(request.result.SerializeToString(deterministic=True))
    for writes in (request.session_writes, *request.memory_writes):
        digest.update(writes.SerializeToString(deterministic=True))
    return digest.digest()


def _token(credential: str, attempt: AttemptId) -> str:
    """Return the attempt's token: derived, so that no secret is stored and a repeated call gets the same one."""
    return hmac.new(credential.encode(), f"{attempt[0]}/{attempt[1]}".encode(), sha256).hexdigest()
