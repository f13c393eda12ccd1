"""`hundredfold cancel`."""

from typing import Any

import click
from hundredfold import Client

from hundredfold_coordinator.cli import options
from hundredfold_coordinator.cli.task_options import show


@click.command("cancel")
@click.argument("task_ids", metavar="TASK...", nargs=-1, required=True)
@options.client_options
@options.output_format
@click.option("--reason", default="", help="Why, for the record.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until they have ended.")
@options.asynchronous
async def command(*, task_ids: tuple[str, ...], output_format: str, reason: str, wait: bool, **where: Any) -> None:
    """End tasks without a result. One that has ended already stays as it is."""
    async with Client(**options.target(where)) as client:
        tasks = [await client.cancel(task_id, reason=reason) for task_id in task_ids]
        if wait:
            tasks = [task async for task in client.as_ended(task_ids)]
    show(tasks, output_format)
