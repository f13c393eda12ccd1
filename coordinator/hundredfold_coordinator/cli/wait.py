"""`hundredfold wait`."""

import sys
from typing import Any

import click
from hundredfold import Client
from hundredfold.v1 import task_pb2

from hundredfold_coordinator.cli import EXIT_FAILED, options, output
from hundredfold_coordinator.cli.task_options import detail


@click.command("wait")
@click.argument("task_ids", metavar="TASK...", nargs=-1, required=True)
@options.client_options
@options.output_format
@click.option("--timeout", "timeout_seconds", type=float, help="Longest time to wait, in seconds.")
@options.asynchronous
async def command(
    *, task_ids: tuple[str, ...], output_format: str, timeout_seconds: float | None, **where: Any
) -> None:
    """Wait until every TASK has ended; print each as it does. Exit code 1 if one did not succeed."""
    failed = False
    async with Client(**options.target(where)) as client:
        async for task in client.as_ended(task_ids, timeout_seconds=timeout_seconds):
            failed |= task.state != task_pb2.TASK_STATE_SUCCEEDED
            if output_format == "json":
                output.write_json(output.as_dict(task))
            else:
                click.echo(f"{task.id}  {output.state_name(task.state)}  {detail(task)}".rstrip())
    if failed:
        sys.exit(EXIT_FAILED)
