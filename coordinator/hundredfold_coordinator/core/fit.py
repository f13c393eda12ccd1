"""How many more would fit: the gates, asked in advance."""

from collections.abc import Iterator
from typing import Final

from hundredfold.v1 import coordinator_service_pb2 as pb
from hundredfold.v1 import task_pb2
from hundredfold.wording import size

from hundredfold_coordinator.core import admission, scheduler
from hundredfold_coordinator.core.reservation import Reservation, expected_cores, reservation
from hundredfold_coordinator.core.state import HostState, State

_Answer = tuple[int, task_pb2.GateKind.ValueType, str]
_LEAST_CORES: Final = 1e-3


def fit(state: State, request: pb.FitRequest) -> pb.FitResponse:
    """Return how many more tasks of a behaviour could be started now; the environment is named."""
    wanted = reservation(state, request.behaviour, request.limits)
    count, kind, detail = min(_answers(state, request, wanted), key=lambda answer: answer[0])
    return pb.FitResponse(
        count=count,
        gate=task_pb2.Gate(kind=kind, detail=detail),
        reservation_bytes=wanted.size,
        runs=wanted.runs,
        detail=wanted.source,
    )


def _answers(state: State, request: pb.FitRequest, wanted: Reservation) -> Iterator[_Answer]:
    shut = scheduler.closed(state, request.environment, request.behaviour)
    if shut:
        yield 0, *shut
        return
    alive, limits = len(state.alive), state.limits
    yield limits.concurrency - alive, task_pb2.GATE_KIND_CONCURRENCY, f"{alive} of {limits.concurrency} are alive"
    for key, kind, alive, most in (
        (request.tenant, task_pb2.GATE_KIND_TENANT_LIMIT, state.shares.alive[request.tenant], limits.tenant_limits),
        (
            request.behaviour,
            task_pb2.GATE_KIND_BEHAVIOUR_LIMIT,
            state.behaviours[request.behaviour],
            limits.behaviour_limits,
        ),
    ):
        if key in most:
            yield max(0, most[key] - alive), kind, f"{alive} of {most[key]} of {key!r} are alive"
    host = scheduler.roomiest(state, request.environment, request.behaviour)
    if host and host.machine:
        yield from _on_host(state, host, request.behaviour, wanted)


def _on_host(state: State, host: HostState, behaviour: str, wanted: Reservation) -> Iterator[_Answer]:
    if state.limits.memory_reserve_bytes:
        yield _by_memory(state, host, wanted)
        if not wanted.known:
            detail = "nobody knows what it needs, and those just started are looked at first"
            yield max(0 if host.loads else 1, state.ramp), task_pb2.GATE_KIND_RAMP, detail
    yield from _by_cpu(state, host, behaviour)
    shut = admission.closed(state, host, behaviour, wanted) or scheduler.held_up(state)
    if shut:
        yield 0, *shut


def _by_memory(state: State, host: HostState, wanted: Reservation) -> _Answer:
    room = admission.room_bytes(state, host)
    least = 0 if host.loads else 1  # a host with nothing on it has room for one
    detail = f"{size(max(0, room))} may still be set aside, and each needs {size(wanted.size)}"
    if least and room < wanted.size:
        detail += ", but one may always run where nothing else does"
    return max(least, room // max(1, wanted.size)), task_pb2.GATE_KIND_MEMORY, detail


def _by_cpu(state: State, host: HostState, behaviour: str) -> Iterator[_Answer]:
    cores = expected_cores(state, behaviour)
    if host.machine and cores >= admission.BUSY_CORES:
        busy = admission.busy_cores(state)
        most = host.machine.cpu_count * admission.CPU_OVERCOMMIT
        detail = f"each keeps {cores:.1f} CPUs busy; those that run want {busy:.1f} of {most:g}"
        yield max(0 if busy else 1, int((most - busy) / max(cores, _LEAST_CORES))), task_pb2.GATE_KIND_CPU, detail
