"""`CoordinatorService`: looking at a coordinator and steering it."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from hundredfold import bounds
from hundredfold.errors import BrokenEnvironment, PermissionDenied, UnknownTask
from hundredfold.internal.v1 import records_pb2
from hundredfold.stores.contract import Batch, Write
from hundredfold.v1 import behaviour_pb2, coordinator_service_pb2_grpc, task_pb2
from hundredfold.v1 import coordinator_service_pb2 as pb

from hundredfold_coordinator import keys
from hundredfold_coordinator.config import Config
from hundredfold_coordinator.core import events, policy
from hundredfold_coordinator.core.census import gates, states
from hundredfold_coordinator.core.door import shut
from hundredfold_coordinator.core.explanation import explain
from hundredfold_coordinator.core.fit import fit
from hundredfold_coordinator.core.state import State
from hundredfold_coordinator.environments import DEFAULT, Environments, broken_plugin, name_for
from hundredfold_coordinator.hosts import Hosts
from hundredfold_coordinator.journal import Journal
from hundredfold_coordinator.services.durations import seconds_of
from hundredfold_coordinator.services.host_view import host_view
from hundredfold_coordinator.stopping import DrainOrder
from hundredfold_coordinator.storage import Storage


class CoordinatorService(coordinator_service_pb2_grpc.CoordinatorServiceServicer):
    """See `proto/hundredfold/v1/coordinator_service.proto`."""

    def __init__(
        self,
        config: Config,
        epoch: int,
        state: State,
        storage: Storage,
        journal: Journal,
        hosts: Hosts,
        environments: Environments,
        host_records: Callable[[], Sequence[records_pb2.HostRecord]],
        version: str,
        stop: Callable[[DrainOrder], None],
    ) -> None:
        self._config = config
        self._epoch = epoch
        self._state = state
        self._storage = storage
        self._journal = journal
        self._hosts = hosts
        self._environments = environments
        self._host_records = host_records
        self._version = version
        self._stop = stop
        self._started_ns = time.time_ns()

    async def GetStatus(self, request: pb.GetStatusRequest, context: Any) -> pb.GetStatusResponse:
        """See the proto."""
        response = pb.GetStatusResponse(
            version=self._version,
            pid=os.getpid(),
            epoch=self._epoch,
            draining=self._state.draining,
            task_counts=[pb.TaskCount(state=one, count=n) for one, n in sorted(states(self._state).items())],
            gate_counts=[pb.GateCount(gate=one, count=n) for one, n in sorted(gates(self._state).items())],
            concurrency=self._config.concurrency,
            queue_limit=self._config.queue_limit,
            store=self._storage.url,
            durable=self._storage.capabilities.durable,
            data_dir=str(self._config.data_dir),
            store_problem=_store_problem(self._state),
            hosts=self._host_views(),
            queued_bytes=self._state.queue.size,
            queue_bytes=self._config.queue_bytes,
            tenant_queue_limit=self._state.limits.tenant_queue_limit,
            tenant_limits=self._state.limits.tenant_limits,
            behaviour_limits=self._state.limits.behaviour_limits,
        )
        response.start_time.FromNanoseconds(self._started_ns)
        return response

    async def ListHosts(self, request: pb.ListHostsRequest, context: Any) -> pb.ListHostsResponse:
        """See the proto."""
        return pb.ListHostsResponse(hosts=self._host_views())

    async def ListSamples(self, request: pb.ListSamplesRequest, context: Any) -> pb.ListSamplesResponse:
        """See the proto."""
        after = request.after_time.ToNanoseconds() if request.HasField("after_time") else 0
        return pb.ListSamplesResponse(samples=self._state.history.after(after))

    async def ListWorkers(self, request: pb.ListWorkersRequest, context: Any) -> pb.ListWorkersResponse:
        """See the proto."""
        return pb.ListWorkersResponse(workers=[self._worker(key[0], key[1], host) for key, host in self._alive()])

    async def ListBehaviours(self, request: pb.ListBehavioursRequest, context: Any) -> pb.ListBehavioursResponse:
        """See the proto."""
        environment = await self._environments.reported(request.environment or DEFAULT)
        return pb.ListBehavioursResponse(behaviours=environment.behaviours)

    async def ListEnvironments(self, request: pb.ListEnvironmentsRequest, context: Any) -> pb.ListEnvironmentsResponse:
        """See the proto."""
        names = [environment.name for environment in self._environments.all()]
        return pb.ListEnvironmentsResponse(environments=[await self._environments.reported(name) for name in names])

    async def OpenEnvironment(self, request: pb.OpenEnvironmentRequest, context: Any) -> pb.OpenEnvironmentResponse:
        """See the proto."""
        if not context.peer().startswith("unix:"):
            raise PermissionDenied("environments are opened over the local socket only")
        if refused := shut(self._state):  # or it would be known here, and to no host, until somebody asks again
            raise refused
        name = name_for(request.spec)
        environment = self._environments.add(name, request.spec)
        # Recorded first: a task of this environment may outlive this coordinator.
        await self._storage.commit([Batch([Write(keys.environment(name), environment.SerializeToString())])])
        self._hosts.broadcast(self._environments.opening(name))
        environment = await self._environments.reported(name)
        if environment.state == behaviour_pb2.ENVIRONMENT_STATE_FAILED:
            raise BrokenEnvironment(name, environment.error[:1000])
        for path in request.spec.plugin_files:
            broken = broken_plugin(environment, path)
            if broken:
                raise broken
        return pb.OpenEnvironmentResponse(environment=environment)

    async def ExplainTask(self, request: pb.ExplainTaskRequest, context: Any) -> pb.ExplainTaskResponse:
        """See the proto."""
        (found,) = await self._storage.get([keys.task(request.task_id)])
        if found is None:
            raise UnknownTask(request.task_id)
        return explain(self._state, records_pb2.TaskRecord.FromString(found.value), time.time_ns())

    async def Fit(self, request: pb.FitRequest, context: Any) -> pb.FitResponse:
        """See the proto."""
        bounds.check_name("tenant", request.tenant)
        policy.check_limits("limits", request.limits)
        request.environment = request.environment or DEFAULT
        behaviour = await self._environments.behaviour(request.environment, request.behaviour)
        spec = task_pb2.TaskSpec(limits=request.limits)
        policy.fill_in(spec, behaviour, self._state.limits)
        request.limits.CopyFrom(spec.limits)
        return fit(self._state, request)

    async def Drain(self, request: pb.DrainRequest, context: Any) -> pb.DrainResponse:
        """See the proto."""
        order = DrainOrder(
            seconds_of("drain", request.drain) if request.HasField("drain") else self._config.drain_seconds,
            seconds_of("grace", request.grace) if request.HasField("grace") else self._config.grace_seconds,
            request.keep_agents,
        )
        # Nothing is to be waited for: a store that is full would make a stop impossible.
        self._journal.post(events.DrainBegan(now_ns=time.time_ns(), reply=None))
        self._stop(order)
        return pb.DrainResponse(pid=os.getpid(), running=len(self._state.alive), queued=len(self._state.queue))

    def _host_views(self) -> list[pb.Host]:
        return [host_view(record, self._hosts, self._state) for record in self._host_records()]

    def _alive(self) -> list[tuple[tuple[str, int], str]]:
        return sorted(self._state.alive.items())

    def _worker(self, task_id: str, number: int, host: str) -> pb.Worker:
        record = self._state.tasks[task_id]
        attempt = record.task.attempts[number - 1]
        worker = pb.Worker(
            pid=attempt.pid,
            host=host,
            task_id=task_id,
            attempt=number,
            behaviour=record.task.spec.behaviour,
            state=record.task.state,
            launch_time=attempt.launch_time,
            reservation_bytes=attempt.reservation_bytes,
            tenant=record.task.spec.tenant,
        )
        usage = self._hosts.usage.get(self._state.residents.key_of((task_id, number)))
        if usage:
            worker.pss_bytes = usage.pss_bytes
            worker.processes, worker.threads = usage.processes, usage.threads
            worker.descriptors = usage.descriptors
            worker.cpu_time.CopyFrom(usage.cpu_time)
        return worker


def _store_problem(state: State) -> str:
    if state.store_outage:
        return f"it does not answer: {state.store_outage.problem}"
    return "it is full" if state.store_full else ""
