"""`hundredfold dead`: the dead letters, which wait for somebody to look at them."""

from typing import Any

import click
from hundredfold import Client

from hundredfold_coordinator.cli import options, output
from hundredfold_coordinator.cli.task_options import show


@click.command("dead")
@options.client_options
@options.output_format
@click.option("--retry", is_flag=True, help="Queue them all again.")
@click.option("--discard", is_flag=True, help="Delete them all.")
@options.asynchronous
async def command(*, output_format: str, retry: bool, discard: bool, **where: Any) -> None:
    """List dead letters: tasks that have ended without a result, and that nobody has cancelled.

    `hundredfold get TASK` shows one, `hundredfold retry TASK` queues it again, `hundredfold delete TASK` discards it.
    """
    if retry and discard:
        raise click.UsageError("--retry and --discard exclude each other")
    async with Client(**options.target(where)) as client:
        tasks = [task async for task in client.list(dead_letters=True)]
        if retry:
            tasks = [await client.retry(task.id) for task in tasks]
        for task in tasks if discard else ():
            await client.delete(task.id)
    show(tasks, output_format)
    if tasks and (retry or discard):
        output.note(f"{output.counted(len(tasks), 'task')} {'queued again' if retry else 'deleted'}")
