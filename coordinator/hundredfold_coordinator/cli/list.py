"""`hundredfold list`."""

from typing import Any

import click
from hundredfold import Client
from hundredfold.v1 import task_pb2

from hundredfold_coordinator.cli import options
from hundredfold_coordinator.cli.output import note
from hundredfold_coordinator.cli.submit import parse_labels
from hundredfold_coordinator.cli.task_options import show

_STATES = [name.removeprefix("TASK_STATE_") for name in task_pb2.TaskState.keys()[1:]]  # an enum wrapper


@click.command("list")
@options.client_options
@options.output_format
@click.option("--state", "states", type=click.Choice(_STATES, case_sensitive=False), multiple=True, help="Only these.")
@click.option("--behaviour", default="", help="Only tasks of this behaviour.")
@click.option("--label", "labels", metavar="KEY=VALUE", multiple=True, help="Only tasks with this label.")
@click.option("--tenant", help="Only tasks for this tenant; '' for those that name none.")
@click.option("--session", help="Only tasks of this session; '' for those that have none.")
@click.option("-n", "--limit", type=click.IntRange(min=0), default=50, show_default=True, help="Most tasks; 0: all.")
@options.asynchronous
async def command(
    *,
    output_format: str,
    states: tuple[str, ...],
    behaviour: str,
    labels: tuple[str, ...],
    tenant: str | None,
    session: str | None,
    limit: int,
    **where: Any,
) -> None:
    """List tasks, newest first."""
    wanted = [task_pb2.TaskState.Value("TASK_STATE_" + state.upper()) for state in states]
    found = []
    async with Client(**options.target(where)) as client:
        async for task in client.list(
            states=wanted, behaviour=behaviour, labels=parse_labels(labels), tenant=tenant, session=session
        ):
            found.append(task)
            if limit and len(found) > limit:
                break  # there are more than are shown
    more = bool(limit) and len(found) > limit
    show(found[:limit] if more else found, output_format)
    if more:
        note(f"these are the newest {limit}; -n 0 lists all")
