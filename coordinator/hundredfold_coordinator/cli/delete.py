"""`hundredfold delete`."""

from typing import Any

import click
from hundredfold import Client

from hundredfold_coordinator.cli import options, output


@click.command("delete")
@click.argument("task_ids", metavar="TASK...", nargs=-1, required=True)
@options.client_options
@options.asynchronous
async def command(*, task_ids: tuple[str, ...], **where: Any) -> None:
    """Delete tasks that have ended, with everything that is known of them."""
    async with Client(**options.target(where)) as client:
        for task_id in task_ids:
            await client.delete(task_id)
    output.note(f"deleted {output.counted(len(task_ids), 'task')}")
