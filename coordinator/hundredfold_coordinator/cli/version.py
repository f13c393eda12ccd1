"""`hundredfold version`."""

from importlib import metadata

import click

from hundredfold_coordinator.cli import options, output


@click.command("version")
@options.output_format
def command(output_format: str) -> None:
    """Print the version of this program."""
    version = metadata.version("hundredfold")
    if output_format == "json":
        output.write_json({"version": version})
    else:
        click.echo(f"hundredfold {version}")
