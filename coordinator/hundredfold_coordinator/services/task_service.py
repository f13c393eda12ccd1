"""`TaskService`: submitting work and learning what became of it."""

import asyncio
import time
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any, Final

from hundredfold import bounds
from hundredfold.errors import HundredfoldError, InvalidArgument, PayloadTooLarge
from hundredfold.internal.v1 import records_pb2
from hundredfold.status import to_status
from hundredfold.v1 import task_pb2, task_service_pb2_grpc
from hundredfold.v1 import task_service_pb2 as pb

from hundredfold_coordinator import keys
from hundredfold_coordinator.core import events, lifecycle, policy
from hundredfold_coordinator.core.door import refusal
from hundredfold_coordinator.core.state import State
from hundredfold_coordinator.ended import EndedTasks
from hundredfold_coordinator.environments import DEFAULT, Environments
from hundredfold_coordinator.hub import Hub, Mailbox
from hundredfold_coordinator.inputs import RecentInputs
from hundredfold_coordinator.journal import Journal
from hundredfold_coordinator.services.durations import seconds_of
from hundredfold_coordinator.services.listing import list_tasks
from hundredfold_coordinator.services.portions import portions
from hundredfold_coordinator.storage import Storage
from hundredfold_coordinator.task_ids import TaskIds
from hundredfold_coordinator.tasks import Tasks

_BATCH_LIMIT: Final = 1000
_WAIT_LIMIT: Final = 100_000
_TEXT_LIMIT: Final = 200
_LABELS_LIMIT: Final = 16
_LOAD_AT_ONCE: Final = 100
_COALESCE_SECONDS: Final = 0.05
_IN_A_ROW: Final = 8
"""So many of a batch are taken in before others have their turn: a whole one would take a quarter of a second."""


class TaskService(task_service_pb2_grpc.TaskServiceServicer):
    """See `proto/hundredfold/v1/task_service.proto`."""

    def __init__(
        self,
        state: State,
        storage: Storage,
        journal: Journal,
        hub: Hub,
        environments: Environments,
        inputs: RecentInputs,
        ended: EndedTasks,
        ids: TaskIds,
        max_payload_bytes: int,
    ) -> None:
        self._state = state
        self._storage = storage
        self._journal = journal
        self._hub = hub
        self._environments = environments
        self._inputs = inputs
        self._max_payload_bytes = max_payload_bytes
        self._tasks = Tasks(state, storage)
        self._ended = ended
        self._ids = ids

    async def SubmitTask(self, request: pb.SubmitTaskRequest, context: Any) -> pb.SubmitTaskResponse:
        """See the proto."""
        (outcome,) = await self._submit([request])
        if isinstance(outcome, HundredfoldError):
            raise outcome
        return pb.SubmitTaskResponse(task=outcome)

    async def BatchSubmitTasks(self, request: pb.BatchSubmitTasksRequest, context: Any) -> pb.BatchSubmitTasksResponse:
        """See the proto."""
        if len(request.requests) > _BATCH_LIMIT:
            raise InvalidArgument("requests", f"has {len(request.requests)} entries and may have {_BATCH_LIMIT}")
        outcomes = await self._submit(request.requests)
        return pb.BatchSubmitTasksResponse(results=[_result(outcome) for outcome in outcomes])

    async def GetTask(self, request: pb.GetTaskRequest, context: Any) -> pb.GetTaskResponse:
        """See the proto."""
        return pb.GetTaskResponse(task=await self._tasks.load(request.task_id, with_input=True, with_result=True))

    async def ListTasks(self, request: pb.ListTasksRequest, context: Any) -> pb.ListTasksResponse:
        """See the proto."""
        return await list_tasks(request, self._storage, self._tasks.view)

    async def CancelTask(self, request: pb.CancelTaskRequest, context: Any) -> pb.CancelTaskResponse:
        """See the proto."""
        if len(request.reason) > _TEXT_LIMIT:
            raise InvalidArgument("reason", f"has {len(request.reason)} characters and may have {_TEXT_LIMIT}")
        await self._tasks.load(request.task_id)
        await self._journal.ask(events.CancelRequested, task_id=request.task_id, reason=request.reason)
        return pb.CancelTaskResponse(task=await self._tasks.load(request.task_id, with_result=True))

    async def RetryTask(self, request: pb.RetryTaskRequest, context: Any) -> pb.RetryTaskResponse:
        """See the proto."""
        await self._ended.retry(request.task_id)
        return pb.RetryTaskResponse(task=await self._tasks.load(request.task_id))

    async def DeleteTask(self, request: pb.DeleteTaskRequest, context: Any) -> pb.DeleteTaskResponse:
        """See the proto."""
        await self._ended.delete(request.task_id)
        return pb.DeleteTaskResponse()

    async def WatchTask(self, request: pb.WatchTaskRequest, context: Any) -> AsyncIterator[pb.WatchTaskResponse]:
        """See the proto."""
        await self._tasks.load(request.task_id)
        with self._hub.watching(request.task_id) as mailbox:
            async for told in self._watch(request, mailbox):
                yield pb.WatchTaskResponse(events=told)

    async def WaitTasks(self, request: pb.WaitTasksRequest, context: Any) -> AsyncIterator[pb.WaitTasksResponse]:
        """See the proto."""
        if len(request.task_ids) > _WAIT_LIMIT:
            raise InvalidArgument("task_ids", f"has {len(request.task_ids)} entries and may have {_WAIT_LIMIT}")
        seconds = seconds_of("timeout", request.timeout) if request.HasField("timeout") else None
        deadline = None if seconds is None else time.monotonic() + seconds
        with self._hub.waiting(request.task_ids) as mailbox:
            async for tasks in self._wait(list(dict.fromkeys(request.task_ids)), mailbox, deadline):
                yield pb.WaitTasksResponse(tasks=tasks)

    # Submitting -------------------------------------------------------------------------------------------------------

    async def _submit(self, requests: "list[pb.SubmitTaskRequest] | Any") -> list[task_pb2.Task | HundredfoldError]:
        # What is refused for want of room must cost as little as possible, and is not looked up.
        stored = await self._stored_requests([one for one in requests if not self._refusal(one)])
        # All of them are on their way before the first is waited for, so they share commits.
        asked: list[asyncio.Future[str] | HundredfoldError] = []
        for request in requests:
            asked.append(await self._ask(request, stored))
            if len(asked) % _IN_A_ROW == 0:
                await asyncio.sleep(0)
        pairs = zip(requests, asked, strict=True)
        known = {name for name, record in stored.items() if record}
        return [await self._outcome(request, answer, known=request.request_id in known) for request, answer in pairs]

    def _refusal(self, request: pb.SubmitTaskRequest) -> HundredfoldError | None:
        return refusal(self._state, request.spec.tenant, request.spec.input.ByteSize(), time.time_ns())

    async def _stored_requests(self, requests: Any) -> dict[str, records_pb2.RequestRecord | None]:
        """Return what the store has of requests with an id; None where it has nothing."""
        ids = [request.request_id for request in requests if request.request_id]
        found = await self._storage.get(list(map(keys.request, ids))) if ids else []
        return {
            name: records_pb2.RequestRecord.FromString(record.value) if record else None
            for name, record in zip(ids, found, strict=True)
        }

    async def _ask(
        self, request: pb.SubmitTaskRequest, stored: dict[str, records_pb2.RequestRecord | None]
    ) -> "asyncio.Future[str] | HundredfoldError":
        # Who asks again for what is there already is never refused; what only the store remembers is found when there
        # is room.
        refused = self._refusal(request)
        if refused and not stored.get(request.request_id) and request.request_id not in self._state.requests:
            return refused
        try:
            self._check(request)
            request.spec.environment = request.spec.environment or DEFAULT
            digest = sha256(request.spec.SerializeToString(deterministic=True)).digest()
            behaviour = await self._environments.check(request.spec)
            policy.fill_in(request.spec, behaviour, self._state.limits)
            if request.request_id and request.request_id not in stored:  # there was no room a moment ago
                stored.update(await self._stored_requests([request]))
        except HundredfoldError as error:
            return error
        return self._journal.ask(
            events.Submitted,
            task_id=self._ids.next(),
            spec=request.spec,
            request_id=request.request_id,
            digest=digest,
            stored=stored.get(request.request_id),
        )

    async def _outcome(
        self, request: pb.SubmitTaskRequest, answer: "asyncio.Future[str] | HundredfoldError", *, known: bool
    ) -> task_pb2.Task | HundredfoldError:
        if isinstance(answer, HundredfoldError):
            return answer
        try:
            task_id = await answer
            if known:
                return await self._tasks.load(task_id)
            if task_id in self._state.tasks:
                self._inputs.keep(task_id, request.spec.input)
            return self._view(task_id, request.spec)
        except HundredfoldError as error:
            return error

    def _view(self, task_id: str, spec: task_pb2.TaskSpec) -> task_pb2.Task:
        """Return a task that has just been committed, without going to the store for it."""
        task = task_pb2.Task()
        live = self._state.tasks.get(task_id)
        if live:
            task.CopyFrom(live.task)
        else:
            task.id = task_id
            task.spec.CopyFrom(spec)
            task.spec.ClearField("input")
        return task

    def _check(self, request: pb.SubmitTaskRequest) -> None:
        spec = request.spec
        if not spec.behaviour:
            raise InvalidArgument("spec.behaviour", "is empty; name one that `hundredfold plugins` lists")
        if len(spec.input.data) > self._max_payload_bytes:
            raise PayloadTooLarge("spec.input.data", len(spec.input.data), self._max_payload_bytes)
        if len(spec.labels) > _LABELS_LIMIT:
            raise InvalidArgument("spec.labels", f"has {len(spec.labels)} entries and may have {_LABELS_LIMIT}")
        texts = {"request_id": request.request_id, "spec.behaviour": spec.behaviour}
        for key, value in spec.labels.items():
            texts |= {f"spec.labels[{key[:_TEXT_LIMIT]}]": key, f"spec.labels.{key[:_TEXT_LIMIT]}": value}
        for field, text in texts.items():
            bounds.check_length(field, text)
            if "\0" in text:
                raise InvalidArgument(field, "has a NUL character; none is allowed")
        policy.check(spec)

    # Watching and waiting ---------------------------------------------------------------------------------------------

    async def _watch(self, request: pb.WatchTaskRequest, mailbox: Mailbox) -> AsyncIterator[list[task_pb2.Event]]:
        sequence = request.after_sequence
        following: tuple[str, int] | None = None
        try:
            while True:
                task = await self._tasks.load(request.task_id)
                current = (task.id, len(task.attempts))
                if request.include_output and task.state == lifecycle.RUNNING and following != current:
                    if following:
                        self._hub.unfollow(following, mailbox)
                    following = current
                    self._hub.follow(following, mailbox)
                async for page in self._history(request.task_id, sequence):
                    sequence = page[-1].sequence
                    for piece in portions(page):
                        yield piece
                output, mailbox.output = mailbox.output, []
                if output:
                    yield output
                if task.state in lifecycle.ENDED and sequence >= task.last_sequence:
                    return
                await mailbox.wait()
        finally:
            if following:
                self._hub.unfollow(following, mailbox)

    async def _history(self, task_id: str, after: int) -> AsyncIterator[list[task_pb2.Event]]:
        prefix = keys.events_of(task_id)
        after_key = keys.event(task_id, after) if after else b""
        while entries := await self._storage.scan(prefix, after=after_key, limit=500):
            yield [task_pb2.Event.FromString(entry.record.value) for entry in entries]
            after_key = entries[-1].key

    async def _wait(
        self, task_ids: list[str], mailbox: Mailbox, deadline: float | None
    ) -> AsyncIterator[list[task_pb2.Task]]:
        pending = set(task_ids)
        # The mailbox was there first, so a task that ends during this look is in one of both, or in both.
        settled = [task_id for task_id in task_ids if not self._is_running(task_id)]
        for start in range(0, len(settled), _LOAD_AT_ONCE):
            tasks = await self._tasks.load_results(settled[start : start + _LOAD_AT_ONCE])
            ended = [task for task in tasks if task.state in lifecycle.ENDED]
            pending -= {task.id for task in ended}
            for piece in portions(ended):
                yield piece
        last = 0.0
        while pending:
            try:
                # Not around a `yield`: a time-out must not strike in gRPC while it sends what was yielded.
                await asyncio.wait_for(mailbox.wait(), None if deadline is None else deadline - time.monotonic())
            except TimeoutError:
                return
            # The first result goes at once; those of a burst share messages.
            await asyncio.sleep(max(0.0, last + _COALESCE_SECONDS - time.monotonic()))
            news, mailbox.ended = mailbox.ended, []
            for piece in portions([_with_result(one.task, one.result) for one in news if one.task.id in pending]):
                yield piece
            pending -= {one.task.id for one in news}
            last = time.monotonic()

    def _is_running(self, task_id: str) -> bool:
        record = self._state.tasks.get(task_id)
        return record is not None and record.task.state not in lifecycle.ENDED


def _with_result(task: task_pb2.Task, result: Any) -> task_pb2.Task:
    if result is not None:
        task.result.CopyFrom(result)
    return task


def _result(outcome: task_pb2.Task | HundredfoldError) -> pb.SubmitResult:
    if isinstance(outcome, HundredfoldError):
        return pb.SubmitResult(error=to_status(outcome))
    return pb.SubmitResult(task=outcome)
