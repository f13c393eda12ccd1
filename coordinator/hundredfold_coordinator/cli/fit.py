"""`hundredfold fit`."""

from typing import Any

import click
from hundredfold import Client, Limits, wording
from hundredfold.v1 import coordinator_service_pb2 as pb

from hundredfold_coordinator.cli import options, output
from hundredfold_coordinator.cli.options import setting


@click.command("fit")
@click.argument("behaviour")
@setting("--environment", default="", help="Environment that has it.  [default: default]")
@setting("--tenant", default="", help="Whom it would be for.")
@setting("--memory-limit-bytes", type=int, default=0, help="Most memory that would be asked for.")
@options.client_options
@options.output_format
@options.asynchronous
async def command(
    *, behaviour: str, environment: str, tenant: str, memory_limit_bytes: int, output_format: str, **where: Any
) -> None:
    """Say how many more tasks of BEHAVIOUR could be started now, and what is short then."""
    limits = Limits(memory_bytes=memory_limit_bytes)
    async with Client(**options.target(where)) as client:
        answer = await client.fit(behaviour, environment=environment, tenant=tenant, limits=limits)
    if output_format == "json":
        output.write_json(output.as_dict(answer))
    else:
        click.echo(sentence(answer))


def sentence(answer: pb.FitResponse) -> str:
    """Return the answer for a person."""
    return (
        f"{answer.count} more; {output.gate_name(answer.gate.kind).lower()} is the limit: {answer.gate.detail}. "
        f"{wording.size(answer.reservation_bytes)} are set aside for each: {answer.detail}."
    )
