"""`hundredfold history`."""

import time
from typing import Any

import click
from hundredfold import Client, bounds
from hundredfold.v1 import coordinator_service_pb2 as pb

from hundredfold_coordinator.cli import options, output
from hundredfold_coordinator.cli.options import setting

_SECONDS = click.FloatRange(0, bounds.LONGEST_SECONDS)
_COLUMNS = ("time", "host", "memory free", "workers use", "set aside", "workers", "cpu", "stalled")


@click.command("history")
@setting("--seconds", type=_SECONDS, default=60.0, show_default=True, help="How far to look back.")
@options.client_options
@options.output_format
@options.asynchronous
async def command(*, seconds: float, output_format: str, **where: Any) -> None:
    """Show what the machine had and the agents took, second by second; ten minutes are kept."""
    bounds.check_number("seconds", seconds, bounds.SECONDS)  # NaN is in every range
    async with Client(**options.target(where)) as client:
        samples = await client.samples(after_seconds=time.time() - seconds)
    if output_format == "json":
        for sample in samples:
            output.write_json(output.as_dict(sample))
    else:
        output.write_table(_COLUMNS, map(_row, samples))


def _row(sample: pb.Sample) -> tuple[str, ...]:
    return (
        output.clock(sample.time),
        sample.host,
        output.size(sample.memory_free_bytes),
        output.size(sample.workers_pss_bytes),
        output.size(sample.reserved_bytes),
        str(sample.workers),
        f"{sample.cpu_percent:.0f} %",
        f"{sample.memory_some:.0%}",
    )
