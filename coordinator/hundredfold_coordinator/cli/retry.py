"""`hundredfold retry`."""

from typing import Any

import click
from hundredfold import Client

from hundredfold_coordinator.cli import options
from hundredfold_coordinator.cli.task_options import show


@click.command("retry")
@click.argument("task_ids", metavar="TASK...", nargs=-1, required=True)
@options.client_options
@options.output_format
@options.asynchronous
async def command(*, task_ids: tuple[str, ...], output_format: str, **where: Any) -> None:
    """Queue tasks again that have ended without a result; their retry policy begins anew."""
    async with Client(**options.target(where)) as client:
        tasks = [await client.retry(task_id) for task_id in task_ids]
    show(tasks, output_format)
