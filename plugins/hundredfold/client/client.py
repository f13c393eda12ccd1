"""The asyncio client.

See also: `hundredfold.client.sync_client`, the same without asyncio.
"""

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self, TypeVar

import grpc
from google.protobuf import duration_pb2

from hundredfold import bounds
from hundredfold.client.address import CHANNEL_OPTIONS, Address, StrPath
from hundredfold.client.memory import MemoryCalls
from hundredfold.client.rpc_error import from_rpc_error
from hundredfold.client.sessions import SessionCalls
from hundredfold.client.submission import NO_INPUT, Submission, batches, outcomes, result_of
from hundredfold.errors import HundredfoldError, StoreUnreachable, TimedOut
from hundredfold.policy import Limits, duration
from hundredfold.v1 import (
    behaviour_pb2,
    coordinator_service_pb2_grpc,
    store_service_pb2_grpc,
    task_pb2,
    task_service_pb2_grpc,
)
from hundredfold.v1 import coordinator_service_pb2 as cpb
from hundredfold.v1 import store_service_pb2 as spb
from hundredfold.v1 import task_service_pb2 as pb

_Response = TypeVar("_Response")
_SEQUENCES: Final = bounds.Bounds(0, (1 << 63) - 1)
_TIMES: Final = bounds.Bounds(-1e10, 1e10)
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Client:
    """A client of one coordinator; an async context manager.

    Args:
        address: gRPC target such as `unix:/path` or `127.0.0.1:7717`; see `Address.find` for what is used without it.
        data_dir: data directory of the coordinator, if there is no address.
        token: what a coordinator on TCP wants to see.

    Attributes:
        sessions: the calls about sessions.
        memory: the calls about vector memory.

    Raises:
        HundredfoldError: from every method, what the coordinator answers; `Unreachable` if none does.

    """

    def __init__(
        self, address: str | None = None, *, data_dir: StrPath | None = None, token: str | None = None
    ) -> None:
        self._address = Address.find(address, data_dir=data_dir, token=token)
        self._channel = grpc.aio.insecure_channel(self._address.target, CHANNEL_OPTIONS)
        self._tasks = task_service_pb2_grpc.TaskServiceStub(self._channel)
        self._coordinator = coordinator_service_pb2_grpc.CoordinatorServiceStub(self._channel)
        self._store = store_service_pb2_grpc.StoreServiceStub(self._channel)
        self.sessions = SessionCalls(self._channel, self._call)
        self.memory = MemoryCalls(self._channel, self._call)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection. Idempotent."""
        await self._channel.close()

    async def submit(self, behaviour: str, input: Any = NO_INPUT, **fields: Any) -> task_pb2.Task:  # noqa: A002
        """Submit one task; returns when it is durable. `fields` are those of `Submission`."""
        request = Submission(behaviour, input, **fields).request()
        return (await self._call(self._tasks.SubmitTask, request)).task

    async def submit_many(self, submissions: Iterable[Submission]) -> list[task_pb2.Task | HundredfoldError]:
        """Submit many tasks; returns for each its task, or the error it was refused with."""
        found: list[task_pb2.Task | HundredfoldError] = []
        for request in batches(submissions):
            found.extend(outcomes(await self._call(self._tasks.BatchSubmitTasks, request)))
        return found

    async def get(self, task_id: str) -> task_pb2.Task:
        """Return a task with its input and result."""
        return (await self._call(self._tasks.GetTask, pb.GetTaskRequest(task_id=task_id))).task

    async def list(
        self,
        *,
        states: Sequence[task_pb2.TaskState.ValueType] = (),
        behaviour: str = "",
        labels: Mapping[str, str] = _NONE,
        dead_letters: bool = False,
        tenant: str | None = None,
        session: str | None = None,
    ) -> AsyncIterator[task_pb2.Task]:
        """Yield tasks, newest first, without input and result; an empty tenant or session is one, too."""
        request = pb.ListTasksRequest(
            states=states,
            behaviour=behaviour,
            labels=labels,
            dead_letters=dead_letters,
            tenant=tenant,
            session=session,
        )
        while True:
            page = await self._call(self._tasks.ListTasks, request)
            for task in page.tasks:
                yield task
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def as_ended(
        self, task_ids: Iterable[str], *, timeout_seconds: float | None = None
    ) -> AsyncIterator[task_pb2.Task]:
        """Yield tasks with their results as they end; a store that does not answer is waited for.

        Raises:
            TimedOut: they did not all end in time.

        """
        pending = dict.fromkeys(task_ids)
        end = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        left = timeout_seconds
        while True:
            request = pb.WaitTasksRequest(task_ids=pending, timeout=_duration("timeout_seconds", left))
            stream = self._tasks.WaitTasks(request, metadata=self._address.metadata)
            try:
                async for response in self._stream(stream):
                    for task in response.tasks:
                        pending.pop(task.id, None)
                        yield task
            except StoreUnreachable as error:
                await asyncio.sleep(error.retry_seconds)
                left = None if end is None else max(0.0, end - time.monotonic())
            else:
                break
        if pending and timeout_seconds is not None:
            raise TimedOut(f"{timeout_seconds:g}")

    async def wait(self, task_id: str, *, timeout_seconds: float | None = None) -> task_pb2.Task:
        """Wait until a task has ended, and return it with its result.

        Raises:
            TimedOut: it did not end in time.

        """
        return await anext(aiter(self.as_ended([task_id], timeout_seconds=timeout_seconds)))

    async def watch(
        self, task_id: str, *, after_sequence: int = 0, include_output: bool = False
    ) -> AsyncIterator[task_pb2.Event]:
        """Yield the events of a task until it has ended."""
        bounds.check_integer("after_sequence", after_sequence, _SEQUENCES)
        request = pb.WatchTaskRequest(task_id=task_id, after_sequence=after_sequence, include_output=include_output)
        async for response in self._stream(self._tasks.WatchTask(request, metadata=self._address.metadata)):
            for event in response.events:
                yield event

    async def cancel(self, task_id: str, *, reason: str = "") -> task_pb2.Task:
        """Ask that a task end; returns it as it is then."""
        request = pb.CancelTaskRequest(task_id=task_id, reason=reason)
        return (await self._call(self._tasks.CancelTask, request)).task

    async def retry(self, task_id: str) -> task_pb2.Task:
        """Queue a task again that has ended without a result; returns it as it is then."""
        return (await self._call(self._tasks.RetryTask, pb.RetryTaskRequest(task_id=task_id))).task

    async def delete(self, task_id: str) -> None:
        """Delete a task that has ended, with everything that is known of it."""
        await self._call(self._tasks.DeleteTask, pb.DeleteTaskRequest(task_id=task_id))

    async def map(self, behaviour: str, inputs: Iterable[Any], **fields: Any) -> AsyncIterator[Any]:
        """Run a behaviour on many inputs at once, and yield the results in their order.

        Raises:
            TaskFailed: a task ended without a result; the others go on.

        """
        submitted = await self.submit_many(Submission(behaviour, value, **fields) for value in inputs)
        ids = [_accepted(outcome).id for outcome in submitted]
        ended: dict[str, task_pb2.Task] = {}
        waiting = iter(ids)
        wanted = next(waiting, None)
        async for task in self.as_ended(ids):
            ended[task.id] = task
            while wanted in ended:
                yield result_of(ended.pop(wanted))
                wanted = next(waiting, None)

    async def status(self) -> cpb.GetStatusResponse:
        """Return what the coordinator is doing."""
        return await self._call(self._coordinator.GetStatus, cpb.GetStatusRequest())

    async def hosts(self) -> "Sequence[cpb.Host]":
        """Return the hosts whose processes live."""
        return (await self._call(self._coordinator.ListHosts, cpb.ListHostsRequest())).hosts

    async def samples(self, *, after_seconds: float | None = None) -> "Sequence[cpb.Sample]":
        """Return what the machine had and the agents took, second by second: the last ten minutes of it.

        `after_seconds` is a Unix time; only later samples are returned.
        """
        request = cpb.ListSamplesRequest()
        if after_seconds is not None:
            bounds.check_number("after_seconds", after_seconds, _TIMES)
            request.after_time.FromNanoseconds(int(after_seconds * 1e9))
        return (await self._call(self._coordinator.ListSamples, request)).samples

    async def workers(self) -> "Sequence[cpb.Worker]":
        """Return the live workers."""
        return (await self._call(self._coordinator.ListWorkers, cpb.ListWorkersRequest())).workers

    async def explain(self, task_id: str) -> "cpb.ExplainTaskResponse":
        """Return why a task waits, runs or has ended, in sentences."""
        return await self._call(self._coordinator.ExplainTask, cpb.ExplainTaskRequest(task_id=task_id))

    async def fit(
        self, behaviour: str, *, environment: str = "", tenant: str = "", limits: Limits | None = None
    ) -> "cpb.FitResponse":
        """Return how many more tasks of a behaviour could be started now, and what is short then."""
        request = cpb.FitRequest(
            behaviour=behaviour, environment=environment, tenant=tenant, limits=limits.message() if limits else None
        )
        return await self._call(self._coordinator.Fit, request)

    async def behaviours(self, environment: str = "") -> "Sequence[behaviour_pb2.Behaviour]":
        """Return the behaviours of an environment."""
        request = cpb.ListBehavioursRequest(environment=environment)
        return (await self._call(self._coordinator.ListBehaviours, request)).behaviours

    async def environments(self) -> "Sequence[behaviour_pb2.Environment]":
        """Return the environments with their plugins."""
        return (await self._call(self._coordinator.ListEnvironments, cpb.ListEnvironmentsRequest())).environments

    async def open_environment(self, spec: behaviour_pb2.EnvironmentSpec) -> behaviour_pb2.Environment:
        """Make a temporary environment available; returns when it is ready."""
        request = cpb.OpenEnvironmentRequest(spec=spec)
        return (await self._call(self._coordinator.OpenEnvironment, request)).environment

    async def drain(
        self,
        *,
        drain_seconds: float | None = None,
        grace_seconds: float | None = None,
        keep_agents: bool = False,
    ) -> cpb.DrainResponse:
        """Stop the coordinator."""
        request = cpb.DrainRequest(
            drain=_duration("drain_seconds", drain_seconds),
            grace=_duration("grace_seconds", grace_seconds),
            keep_agents=keep_agents,
        )
        return await self._call(self._coordinator.Drain, request)

    async def check_store(self) -> spb.CheckStoreResponse:
        """Look for damage in the store."""
        return await self._call(self._store.CheckStore, spb.CheckStoreRequest())

    async def back_up_store(self, path: StrPath) -> spb.BackupStoreResponse:
        """Copy the store into a new file on the coordinator's machine; returns when that is durable."""
        return await self._call(self._store.BackupStore, spb.BackupStoreRequest(path=str(Path(path).absolute())))

    async def export_store(self) -> AsyncIterator[spb.StoreRecord]:
        """Yield every record of the store, in the order of their keys."""
        stream = self._store.ExportStore(spb.ExportStoreRequest(), metadata=self._address.metadata)
        async for response in self._stream(stream):
            for record in response.records:
                yield record

    async def _call(self, method: Callable[..., Awaitable[_Response]], request: Any) -> _Response:
        try:
            return await method(request, metadata=self._address.metadata)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, self._address.target) from None

    async def _stream(self, stream: AsyncIterable[_Response]) -> AsyncIterator[_Response]:
        try:
            async for response in stream:
                yield response
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, self._address.target) from None


def _accepted(outcome: task_pb2.Task | HundredfoldError) -> task_pb2.Task:
    if isinstance(outcome, HundredfoldError):
        raise outcome
    return outcome


def _duration(name: str, seconds: float | None) -> duration_pb2.Duration | None:
    return None if seconds is None else duration(name, seconds)
