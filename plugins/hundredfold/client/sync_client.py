"""The client without asyncio: the same calls, blocking.

It runs a `Client` on an event loop in a thread of its own, so that both can never differ.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self, TypeVar

from hundredfold.client.address import StrPath
from hundredfold.client.client import Client
from hundredfold.client.submission import NO_INPUT, Submission
from hundredfold.client.sync_memory import SyncMemoryCalls, SyncSessionCalls
from hundredfold.errors import HundredfoldError
from hundredfold.v1 import behaviour_pb2, task_pb2
from hundredfold.v1 import coordinator_service_pb2 as cpb
from hundredfold.v1 import store_service_pb2 as spb

_T = TypeVar("_T")
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class SyncClient:
    """A blocking client of one coordinator; a context manager. Arguments, methods and errors as for `Client`."""

    def __init__(
        self, address: str | None = None, *, data_dir: StrPath | None = None, token: str | None = None
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hundredfold-client", daemon=True)
        self._thread.start()
        self._client = self._run(_make(address, data_dir, token))
        self.sessions = SyncSessionCalls(self._client.sessions, self._run, self._iterate)
        self.memory = SyncMemoryCalls(self._client.memory, self._run)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Idempotent."""
        if self._loop.is_closed():
            return
        self._run(self._client.close())
        del self._client, self.sessions, self.memory  # gRPC gives its sockets back when the last of its objects is gone
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def submit(self, behaviour: str, input: Any = NO_INPUT, **fields: Any) -> task_pb2.Task:  # noqa: A002
        """See `Client.submit`."""
        return self._run(self._client.submit(behaviour, input, **fields))

    def submit_many(self, submissions: Iterable[Submission]) -> list[task_pb2.Task | HundredfoldError]:
        """See `Client.submit_many`."""
        return self._run(self._client.submit_many(submissions))

    def get(self, task_id: str) -> task_pb2.Task:
        """See `Client.get`."""
        return self._run(self._client.get(task_id))

    def list(
        self,
        *,
        states: Sequence[task_pb2.TaskState.ValueType] = (),
        behaviour: str = "",
        labels: Mapping[str, str] = _NONE,
        dead_letters: bool = False,
        tenant: str | None = None,
        session: str | None = None,
    ) -> Iterator[task_pb2.Task]:
        """See `Client.list`."""
        return self._iterate(
            self._client.list(
                states=states,
                behaviour=behaviour,
                labels=labels,
                dead_letters=dead_letters,
                tenant=tenant,
                session=session,
            )
        )

    def as_ended(self, task_ids: Iterable[str], *, timeout_seconds: float | None = None) -> Iterator[task_pb2.Task]:
        """See `Client.as_ended`."""
        return self._iterate(self._client.as_ended(task_ids, timeout_seconds=timeout_seconds))

    def wait(self, task_id: str, *, timeout_seconds: float | None = None) -> task_pb2.Task:
        """See `Client.wait`."""
        return self._run(self._client.wait(task_id, timeout_seconds=timeout_seconds))

    def watch(self, task_id: str, *, after_sequence: int = 0, include_output: bool = False) -> Iterator[task_pb2.Event]:
        """See `Client.watch`."""
        return self._iterate(self._client.watch(task_id, after_sequence=after_sequence, include_output=include_output))

    def cancel(self, task_id: str, *, reason: str = "") -> task_pb2.Task:
        """See `Client.cancel`."""
        return self._run(self._client.cancel(task_id, reason=reason))

    def retry(self, task_id: str) -> task_pb2.Task:
        """See `Client.retry`."""
        return self._run(self._client.retry(task_id))

    def delete(self, task_id: str) -> None:
        """See `Client.delete`."""
        self._run(self._client.delete(task_id))

    def map(self, behaviour: str, inputs: Iterable[Any], **fields: Any) -> Iterator[Any]:
        """See `Client.map`."""
        return self._iterate(self._client.map(behaviour, inputs, **fields))

    def status(self) -> cpb.GetStatusResponse:
        """See `Client.status`."""
        return self._run(self._client.status())

    def hosts(self) -> "Sequence[cpb.Host]":
        """See `Client.hosts`."""
        return self._run(self._client.hosts())

    def samples(self, **fields: Any) -> "Sequence[cpb.Sample]":
        """See `Client.samples`."""
        return self._run(self._client.samples(**fields))

    def explain(self, task_id: str) -> "cpb.ExplainTaskResponse":
        """See `Client.explain`."""
        return self._run(self._client.explain(task_id))

    def fit(self, behaviour: str, **fields: Any) -> "cpb.FitResponse":
        """See `Client.fit`."""
        return self._run(self._client.fit(behaviour, **fields))

    def workers(self) -> Sequence[cpb.Worker]:
        """See `Client.workers`."""
        return self._run(self._client.workers())

    def behaviours(self, environment: str = "") -> Sequence[behaviour_pb2.Behaviour]:
        """See `Client.behaviours`."""
        return self._run(self._client.behaviours(environment))

    def environments(self) -> Sequence[behaviour_pb2.Environment]:
        """See `Client.environments`."""
        return self._run(self._client.environments())

    def open_environment(self, spec: behaviour_pb2.EnvironmentSpec) -> behaviour_pb2.Environment:
        """See `Client.open_environment`."""
        return self._run(self._client.open_environment(spec))

    def drain(
        self,
        *,
        drain_seconds: float | None = None,
        grace_seconds: float | None = None,
        keep_agents: bool = False,
    ) -> cpb.DrainResponse:
        """See `Client.drain`."""
        return self._run(
            self._client.drain(drain_seconds=drain_seconds, grace_seconds=grace_seconds, keep_agents=keep_agents)
        )

    def check_store(self) -> spb.CheckStoreResponse:
        """See `Client.check_store`."""
        return self._run(self._client.check_store())

    def back_up_store(self, path: StrPath) -> spb.BackupStoreResponse:
        """See `Client.back_up_store`."""
        return self._run(self._client.back_up_store(path))

    def export_store(self) -> Iterator[spb.StoreRecord]:
        """See `Client.export_store`."""
        return self._iterate(self._client.export_store())

    def _run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C here ends the call there
            raise

    def _iterate(self, source: AsyncIterator[_T]) -> Iterator[_T]:
        while True:
            try:
                yield self._run(_next(source))
            except StopAsyncIteration:
                return


async def _make(address: str | None, data_dir: StrPath | None, token: str | None) -> Client:
    return Client(address, data_dir=data_dir, token=token)


async def _next(source: AsyncIterator[_T]) -> _T:
    return await anext(source)
