"""What a coordinator is doing, as lines for a person: at most 80 columns wide where that can be."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from hundredfold import wording
from hundredfold.v1 import coordinator_service_pb2 as pb
from hundredfold.v1 import task_pb2

from hundredfold_coordinator.cli import output
from hundredfold_coordinator.cli.sparkline import sparkline

_NAME_WIDTH: Final = 12
_WIDTH: Final = 80
_LIVE: Final = (task_pb2.TASK_STATE_QUEUED, task_pb2.TASK_STATE_LAUNCHING, task_pb2.TASK_STATE_RUNNING)

_Line = tuple[str, str]


def overview(status: pb.GetStatusResponse, samples: Sequence[pb.Sample] = ()) -> Iterator[str]:
    """Yield the lines; with `samples`, the last minute of each host as pictures."""
    for name, value in _coordinator(status):
        if value:
            yield from line(name, value)
    for host in status.hosts:
        for name, value in (*_host(host), *_pictures(host, [one for one in samples if one.host == host.id])):
            yield from line(name, value)


def line(name: str, value: str) -> Iterator[str]:
    """Yield a name with its value, which goes on in the next line after a comma if it is too long."""
    shown = f"{name:<{_NAME_WIDTH}} "
    empty = True
    for part in value.split(", "):
        if not empty and len(shown) + len(", ") + len(part) > _WIDTH - 1:
            yield shown + ","
            shown, empty = " " * (_NAME_WIDTH + 1), True
        shown += part if empty else f", {part}"
        empty = False
    yield shown


def _coordinator(status: pb.GetStatusResponse) -> Iterator[_Line]:
    yield "coordinator", f"{status.version}, pid {status.pid}, epoch {status.epoch}{', draining' * status.draining}"
    yield "since", output.clock(status.start_time)
    yield "tasks", _tasks(status.task_counts)
    yield "waiting", ", ".join(f"{one.count} at {output.gate_name(one.gate)}" for one in status.gate_counts)
    yield "queue", ", ".join(_queue(status))
    yield "limits", ", ".join(_limits(status))
    problem = f"; {status.store_problem}, and nothing new is accepted" if status.store_problem else ""
    yield "store", f"{status.store} ({'durable' if status.durable else 'volatile'}){problem}"
    yield "data", status.data_dir


def _tasks(counts: Sequence[pb.TaskCount]) -> str:
    """Say how many there are, and apart from these how many have ended: those before the start are not counted."""
    live = ", ".join(_count(one) for one in counts if one.state in _LIVE)
    ended = ", ".join(_count(one) for one in counts if one.state not in _LIVE)
    return f"{live or 'none'}; since the start: {ended}" if ended else live or "none"


def _count(one: pb.TaskCount) -> str:
    return f"{one.count} {output.state_name(one.state)}"


def _queue(status: pb.GetStatusResponse) -> Iterator[str]:
    queued = sum(one.count for one in status.task_counts if one.state == task_pb2.TASK_STATE_QUEUED)
    yield f"{queued} of {status.queue_limit} tasks"
    if status.queue_bytes:  # an older coordinator does not tell
        yield f"{wording.size(status.queued_bytes)} of {wording.size(status.queue_bytes)} of input"
    if 0 < status.tenant_queue_limit < status.queue_limit:
        yield f"at most {status.tenant_queue_limit} of each tenant"


def _limits(status: pb.GetStatusResponse) -> Iterator[str]:
    yield f"{wording.counted(status.concurrency, 'attempt')} at once"
    yield from _caps("tenant", status.tenant_limits)
    yield from _caps("behaviour", status.behaviour_limits)


def _caps(kind: str, limits: Mapping[str, int]) -> Iterator[str]:
    for name, limit in sorted(limits.items()):
        yield f"{limit} of {kind} {name}" if name else f"{limit} of no {kind}"


def _host(host: pb.Host) -> Iterator[_Line]:
    state = pb.HostState.Name(host.state).removeprefix("HOST_STATE_")
    yield "host", f"{host.id}, pid {host.pid}, {state}{f': {host.detail}' if host.detail else ''}"
    machine = host.machine
    used, reserved = wording.size(machine.workers_pss_bytes), wording.size(host.reserved_bytes)
    yield "  workers", f"{host.workers}; they use {used}, and {reserved} more are set aside for them"
    if not host.HasField("machine"):
        return
    free = wording.size(machine.memory_free_bytes)
    total = wording.size(machine.memory_limit_bytes or machine.memory_total_bytes)
    yield "  memory", f"{free} of {total} free, {wording.size(machine.headroom_bytes)} kept in reserve"
    yield "  stalled", f"{machine.pressure.memory_some:.0%} of the time something waits for memory"
    yield "  cpu", f"{machine.cpu_percent:.0f} % of {wording.counted(machine.cpu_count, 'core')}"


def _pictures(host: pb.Host, samples: Sequence[pb.Sample]) -> Iterator[_Line]:
    """Show the last minute, a bar a second."""
    if not samples:
        return
    total = host.machine.memory_limit_bytes or host.machine.memory_total_bytes
    yield "  used", sparkline([total - one.memory_free_bytes for one in samples], total)
    yield "  cpu", sparkline([one.cpu_percent for one in samples], 100)
    most = max(one.workers for one in samples)
    yield "  workers", f"{sparkline([one.workers for one in samples], most)} ≤{most}"
