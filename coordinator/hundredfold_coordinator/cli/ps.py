"""`hundredfold ps`."""

from typing import Any

import click
from google.protobuf.timestamp_pb2 import Timestamp
from hundredfold import Client, wording

from hundredfold_coordinator.cli import options, output


@click.command("ps")
@options.client_options
@options.output_format
@options.asynchronous
async def command(*, output_format: str, **where: Any) -> None:
    """List the live agents and what each uses."""
    async with Client(**options.target(where)) as client:
        workers = await client.workers()
    if output_format == "json":
        for worker in workers:
            output.write_json(output.as_dict(worker))
        return
    now = Timestamp()
    now.GetCurrentTime()
    rows = [
        (
            str(worker.pid or "-"),
            worker.task_id,
            worker.behaviour,
            output.state_name(worker.state),
            output.seconds(output.between(worker.launch_time, now)),
            wording.size(worker.pss_bytes) if worker.pss_bytes else "-",
            wording.size(worker.reservation_bytes) if worker.reservation_bytes else "-",
            output.seconds(worker.cpu_time.ToNanoseconds() / 1e9) if worker.HasField("cpu_time") else "-",
            str(worker.processes or 1),
        )
        for worker in workers
    ]
    output.write_table(("pid", "task", "behaviour", "state", "age", "memory", "reserved", "cpu", "processes"), rows)
