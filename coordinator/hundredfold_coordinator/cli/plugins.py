"""`hundredfold plugins`."""

import json
import sys
from typing import Any

import click
from hundredfold import Client
from hundredfold.v1 import behaviour_pb2

from hundredfold_coordinator.cli import EXIT_FAILED, options, output


@click.command("plugins")
@options.client_options
@options.output_format
@options.asynchronous
async def command(*, output_format: str, **where: Any) -> None:
    """List plugins, behaviours and embedders: what was found, from where, and what failed with its traceback.

    Exit code 1 if a plugin or an environment is broken.
    """
    async with Client(**options.target(where)) as client:
        environments = await client.environments()
    for environment in environments:
        if output_format == "json":
            output.write_json(output.as_dict(environment))
        else:
            _show(environment)
    if any(e.error or any(plugin.error for plugin in e.plugins) for e in environments):
        sys.exit(EXIT_FAILED)


def _show(environment: behaviour_pb2.Environment) -> None:
    state = behaviour_pb2.EnvironmentState.Name(environment.state).removeprefix("ENVIRONMENT_STATE_")
    click.echo(f"environment {environment.name}: {state}")
    if environment.error:
        click.echo(_indent(environment.error))
    if environment.embedders:
        click.echo(f"  embedders: {', '.join(environment.embedders)}")
    behaviours = {behaviour.name: behaviour for behaviour in environment.behaviours}
    for plugin in environment.plugins:
        click.echo(f"  plugin {plugin.name} ({plugin.origin})")
        for name in plugin.behaviours:
            _show_behaviour(behaviours[name])
        if plugin.error:
            click.echo(f"    broken: {plugin.error}")
            click.echo(_indent(plugin.traceback, "      "))


def _show_behaviour(behaviour: behaviour_pb2.Behaviour) -> None:
    click.echo(f"    {behaviour.name}: {behaviour.summary or 'no description'}")
    schema = json.loads(behaviour.input_schema)
    fields = schema.get("properties", {})
    required = schema.get("required", ())
    shown = [f"{name}{'' if name in required else '?'}: {_kind(field)}" for name, field in fields.items()]
    click.echo(f"      input: {{{', '.join(shown)}}}" if shown else f"      input: {_kind(schema)}")


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    kinds = [_kind(option) for option in schema.get("anyOf", ())]
    return " | ".join(kinds) or str(schema.get("type", "any"))


def _indent(text: str, by: str = "  ") -> str:
    return "\n".join(by + line for line in text.rstrip().splitlines())
