"""`hundredfold hosts`."""

from typing import Any

import click
from hundredfold import Client, wording
from hundredfold.v1 import coordinator_service_pb2 as pb

from hundredfold_coordinator.cli import options, output

_COLUMNS = ("host", "pid", "state", "workers", "memory free", "reserved", "cpu", "version", "detail")


@click.command("hosts")
@options.client_options
@options.output_format
@options.asynchronous
async def command(*, output_format: str, **where: Any) -> None:
    """List the hosts: the processes that launch, measure and kill agents."""
    async with Client(**options.target(where)) as client:
        hosts = await client.hosts()
    if output_format == "json":
        for host in hosts:
            output.write_json(output.as_dict(host))
    else:
        output.write_table(_COLUMNS, map(_row, hosts))


def _row(host: pb.Host) -> tuple[str, ...]:
    measured = host.HasField("machine")
    return (
        host.id,
        str(host.pid),
        pb.HostState.Name(host.state).removeprefix("HOST_STATE_"),
        str(host.workers),
        wording.size(host.machine.memory_free_bytes) if measured else "-",
        wording.size(host.reserved_bytes),
        f"{host.machine.cpu_percent:.0f} %" if measured else "-",
        host.version,
        host.detail,
    )
