"""`hundredfold delete`."""

from typing import Any

import click
from hundredfold import Client

from hundredfold_coordinator.cli import options
from hundredfold_coordinator.cli.deletion import delete_each


@click.command("delete")
@click.argument("task_ids", metavar="TASK...", nargs=-1, required=True)
@options.client_options
@options.output_format
@options.asynchronous
async def command(*, task_ids: tuple[str, ...], output_format: str, **where: Any) -> None:
    """Delete tasks that have ended, with everything that is known of them."""
    async with Client(**options.target(where)) as client:
        await delete_each("task", task_ids, client.delete, output_format)
