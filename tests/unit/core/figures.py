"""Figures for a core: samples of its machine, and runs that have used so much; and what comes of them."""

from typing import TYPE_CHECKING, Any

from google.protobuf.duration_pb2 import Duration
from hundredfold.internal.v1 import host_service_pb2
from hundredfold.v1 import coordinator_service_pb2 as pb
from hundredfold.v1 import policy_pb2, task_pb2
from hundredfold_coordinator.core import effects, events, scheduler
from hundredfold_coordinator.core.reservation import reservation

if TYPE_CHECKING:
    from tests.unit.core.conftest import Core, Told

HOST = "host-1"
MIB = 1 << 20
SECOND = 1_000_000_000


def limit(core: "Core", **limits: Any) -> None:
    core.limit(memory_reserve_bytes=100 * MIB, **limits)


def duration_of(seconds: float) -> Duration:
    return Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))


def machine(free: int, **fields: Any) -> pb.Machine:
    """Return a sample of a machine with so many MiB free and 100 in reserve."""
    figures = {"memory_total_bytes": 1000 * MIB, "headroom_bytes": 100 * MIB, "cpu_count": 2, **fields}
    return pb.Machine(memory_free_bytes=free * MIB, **figures)


def measure(core: "Core", free: int, used: dict[str, int] | None = None, host: str = HOST, **fields: Any) -> "Told":
    """Report a sample, and what attempts were seen to use, in MiB."""
    usages = []
    for task_id, mebibytes in (used or {}).items():
        key = host_service_pb2.AttemptKey(task_id=task_id, number=1)
        usages.append(host_service_pb2.AttemptUsage(attempt=key, pss_bytes=mebibytes * MIB))
    return core.tell(events.MachineMeasured, host=host, machine=machine(free, **fields), attempts=usages)


def starts(told: "Told") -> list[str]:
    return [launch.attempt[0] for launch in told.all(effects.Launch)]


def gate(core: "Core", task_id: str) -> tuple[str, str]:
    found = scheduler.gate(core.state, core.state.tasks[task_id])
    return task_pb2.GateKind.Name(found.kind).removeprefix("GATE_KIND_"), found.detail


def teach(core: "Core", *peaks: float, wall: float = 1.0, cpu: float = 0.1, startup: float = 0.1) -> None:
    """Let tasks run to their end that have used so many MiB at most."""
    for peak in peaks:
        task_id = f"lesson{len(core.minted)}"
        core.complete(core.run(task_id))
        core.exited(
            task_id,
            peak_pss_bytes=int(peak * MIB),
            wall_time=duration_of(wall),
            cpu_time=duration_of(cpu),
            startup_cpu_time=duration_of(startup),
        )


def wanted(core: "Core", memory: int = 0, floor: int = 0) -> tuple[int, bool]:
    found = reservation(core.state, "b", policy_pb2.Limits(memory_bytes=memory * MIB), floor * MIB)
    return found.size // MIB, found.known
