"""`hundredfold watch`."""

import json
from typing import Any

import click
from hundredfold import Client
from hundredfold.v1 import task_pb2

from hundredfold_coordinator.cli import options, output


@click.command("watch")
@click.argument("task_id", metavar="TASK")
@options.client_options
@options.output_format
@click.option("--after", type=click.IntRange(0, (1 << 63) - 1), default=0, help="Last sequence already seen.")
@click.option("--output/--no-output", "include_output", default=False, help="Show what the agent writes, too.")
@options.asynchronous
async def command(*, task_id: str, output_format: str, after: int, include_output: bool, **where: Any) -> None:
    """Show the events of TASK as they come, until it has ended."""
    async with Client(**options.target(where)) as client:
        async for event in client.watch(task_id, after_sequence=after, include_output=include_output):
            if output_format == "json":
                output.write_json(output.as_dict(event))
            else:
                click.echo(f"{event.sequence or '-':>5}  {output.clock(event.time)}  {_describe(event)}")


def _describe(event: task_pb2.Event) -> str:
    attempt = f"attempt {event.attempt}  " if event.attempt else ""
    if event.HasField("state_change"):
        change = event.state_change
        return f"{attempt}{output.state_name(change.state)}  {change.reason}".rstrip()
    if event.HasField("emitted"):
        value = output.payload_value(event.emitted.payload)
        return f"{attempt}emitted  {json.dumps(value, ensure_ascii=False)}"
    return f"{attempt}output  {event.output.data.decode(errors='replace').rstrip()}"
