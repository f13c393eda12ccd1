"""`hundredfold submit`."""

from typing import Any

import click
from hundredfold import Client
from hundredfold.errors import InvalidArgument

from hundredfold_coordinator.cli import options, output
from hundredfold_coordinator.cli.policy_options import policy_options, take_policy
from hundredfold_coordinator.cli.values import value_of


@click.command("submit")
@click.argument("behaviour")
@click.argument("input_text", metavar="[INPUT]", default="{}")
@options.client_options
@options.output_format
@click.option("--session", default="", help="Session the task belongs to.")
@click.option("--environment", default="", help="Environment that has the behaviour.")
@click.option("--label", "labels", metavar="KEY=VALUE", multiple=True, help="Label; can be given several times.")
@policy_options
@click.option("--request-id", default="", help="The same id never makes a second task.")
@options.asynchronous
async def command(
    *, behaviour: str, input_text: str, output_format: str, labels: tuple[str, ...], **fields: Any
) -> None:
    """Submit one task for BEHAVIOUR and print its id.

    INPUT is JSON, or - to read it from stdin; {} by default.
    """
    where = options.target(fields)
    fields |= take_policy(fields)
    value = value_of("input", input_text)
    async with Client(**where) as client:
        task = await client.submit(behaviour, value, labels=parse_labels(labels), **fields)
    if output_format == "json":
        output.write_json(output.as_dict(task))
    else:
        click.echo(task.id)


def parse_labels(texts: tuple[str, ...]) -> dict[str, str]:
    """Return labels from KEY=VALUE texts.

    Raises:
        InvalidArgument: names the text that is none.

    """
    for text in texts:
        if "=" not in text:
            raise InvalidArgument("label", f"is {text!r} and must look like KEY=VALUE")
    return dict(text.split("=", 1) for text in texts)
