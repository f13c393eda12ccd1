"""`hundredfold status`."""

import asyncio
import sys
from typing import Any, Final

import click
from hundredfold import Client
from hundredfold.v1 import coordinator_service_pb2 as pb

from hundredfold_coordinator.cli import options, output

_WATCH_SECONDS: Final = 1.0


@click.command("status")
@click.option("--watch", is_flag=True, help="Go on until Ctrl-C, once a second.")
@options.client_options
@options.output_format
@options.asynchronous
async def command(*, watch: bool, output_format: str, **where: Any) -> None:
    """Show what the coordinator is doing."""
    async with Client(**options.target(where)) as client:
        while True:
            status = await client.status()
            if watch and output_format == "table" and sys.stdout.isatty():
                click.clear()
            if output_format == "json":
                output.write_json(output.as_dict(status))
            else:
                _show(status)
            if not watch:
                return
            sys.stdout.flush()
            await asyncio.sleep(_WATCH_SECONDS)


def _show(status: pb.GetStatusResponse) -> None:
    tasks = ", ".join(f"{count.count} {output.state_name(count.state)}" for count in status.task_counts)
    gates = ", ".join(f"{count.count} at {output.gate_name(count.gate)}" for count in status.gate_counts)
    lines = [
        ("coordinator", f"{status.version}, pid {status.pid}, epoch {status.epoch}{', draining' * status.draining}"),
        ("since", output.clock(status.start_time)),
        ("tasks", tasks or "none"),
        ("waiting", gates),
        ("limits", f"{status.concurrency} attempts at once, {status.queue_limit} queued"),
        ("store", f"{status.store} ({'durable' if status.durable else 'volatile'})"),
        ("data", status.data_dir),
    ]
    for name, value in lines:
        if value:
            click.echo(f"{name:<12} {value}")
    for host in status.hosts:
        click.echo(f"{'host':<12} {_describe_host(host)}")


def _describe_host(host: pb.Host) -> str:
    machine = host.machine
    free = output.size(machine.memory_free_bytes)
    total = output.size(machine.memory_limit_bytes or machine.memory_total_bytes)
    return (
        f"{host.id}, pid {host.pid}, {host.workers} worker(s) with {output.size(machine.workers_pss_bytes)} and "
        f"{output.size(host.reserved_bytes)} more set aside; memory: {free} of {total} free, "
        f"{output.size(machine.headroom_bytes)} kept in reserve; CPU: {machine.cpu_percent:.0f} % of "
        f"{machine.cpu_count} cores; stalled for memory {machine.pressure.memory_some:.0%} of the time"
    )
