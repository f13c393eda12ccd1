"""`hundredfold status`."""

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import click
from hundredfold import Client
from hundredfold.v1 import coordinator_service_pb2 as pb

from hundredfold_coordinator.cli import options, output
from hundredfold_coordinator.cli.sparkline import sparkline

_WATCH_SECONDS: Final = 1.0
_PICTURED_SECONDS: Final = 60

_Line = tuple[str, str]


@click.command("status")
@click.option("--watch", is_flag=True, help="Go on until Ctrl-C, once a second.")
@options.client_options
@options.output_format
@options.asynchronous
async def command(*, watch: bool, output_format: str, **where: Any) -> None:
    """Show what the coordinator is doing."""
    pictured = watch and output_format == "table" and sys.stdout.isatty()
    async with Client(**options.target(where)) as client:
        while True:
            status = await client.status()
            samples = await client.samples(after_seconds=time.time() - _PICTURED_SECONDS) if pictured else ()
            if pictured:
                click.clear()
            if output_format == "json":
                output.write_json(output.as_dict(status))
            else:
                _write(status, samples)
            if not watch:
                return
            sys.stdout.flush()
            await asyncio.sleep(_WATCH_SECONDS)


def _write(status: pb.GetStatusResponse, samples: Sequence[pb.Sample]) -> None:
    for name, value in _coordinator(status):
        if value:
            click.echo(f"{name:<12} {value}")
    for host in status.hosts:
        for name, value in (*_host(host), *_pictures(host, [one for one in samples if one.host == host.id])):
            click.echo(f"{name:<12} {value}")


def _coordinator(status: pb.GetStatusResponse) -> Iterator[_Line]:
    yield "coordinator", f"{status.version}, pid {status.pid}, epoch {status.epoch}{', draining' * status.draining}"
    yield "since", output.clock(status.start_time)
    yield "tasks", ", ".join(f"{one.count} {output.state_name(one.state)}" for one in status.task_counts) or "none"
    yield "waiting", ", ".join(f"{one.count} at {output.gate_name(one.gate)}" for one in status.gate_counts)
    yield "limits", f"{status.concurrency} attempts at once, {status.queue_limit} queued"
    yield "store", f"{status.store} ({'durable' if status.durable else 'volatile'})"
    yield "data", status.data_dir


def _host(host: pb.Host) -> Iterator[_Line]:
    state = pb.HostState.Name(host.state).removeprefix("HOST_STATE_")
    yield "host", f"{host.id}, pid {host.pid}, {state}{f': {host.detail}' if host.detail else ''}"
    machine = host.machine
    used, reserved = output.size(machine.workers_pss_bytes), output.size(host.reserved_bytes)
    yield "  workers", f"{host.workers}; they use {used}, and {reserved} more are set aside for them"
    if not host.HasField("machine"):
        return
    free = output.size(machine.memory_free_bytes)
    total = output.size(machine.memory_limit_bytes or machine.memory_total_bytes)
    yield "  memory", f"{free} of {total} free, {output.size(machine.headroom_bytes)} kept in reserve"
    yield "  stalled", f"{machine.pressure.memory_some:.0%} of the time something waits for memory"
    yield "  cpu", f"{machine.cpu_percent:.0f} % of {machine.cpu_count} cores"


def _pictures(host: pb.Host, samples: Sequence[pb.Sample]) -> Iterator[_Line]:
    """Show the last minute, a bar a second."""
    if not samples:
        return
    total = host.machine.memory_limit_bytes or host.machine.memory_total_bytes
    yield "  used", sparkline([total - one.memory_free_bytes for one in samples], total)
    yield "  cpu", sparkline([one.cpu_percent for one in samples], 100)
    most = max(one.workers for one in samples)
    yield "  workers", f"{sparkline([one.workers for one in samples], most)} {most} at most"
