"""`hundredfold explain`."""

from typing import Any

import click
from hundredfold import Client

from hundredfold_coordinator.cli import options, output


@click.command("explain")
@click.argument("task_id", metavar="TASK")
@options.client_options
@options.output_format
@options.asynchronous
async def command(*, task_id: str, output_format: str, **where: Any) -> None:
    """Say why TASK waits, runs or has ended."""
    async with Client(**options.target(where)) as client:
        explanation = await client.explain(task_id)
    if output_format == "json":
        output.write_json(output.as_dict(explanation))
        return
    click.echo(explanation.summary)
    for attempt in explanation.attempts:
        click.echo(attempt.summary)
