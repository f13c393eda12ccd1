"""`hundredfold serve --print-config`: every setting, as one would write it, and where it comes from."""

import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from hundredfold_coordinator.cli import output
from hundredfold_coordinator.config import Config


def print_settings(ctx: click.Context, config: Config, output_format: str) -> None:
    """Write the settings of a coordinator, one each line."""
    if output_format == "json":
        for name, value, origin in _settings(ctx, config):
            output.write_json({"setting": name, "value": _plain(value), "origin": origin})
    else:
        rows = [(name, _written(value), origin) for name, value, origin in _settings(ctx, config)]
        output.write_table(("setting", "value", "origin"), rows)


def _settings(ctx: click.Context, config: Config) -> Iterator[tuple[str, Any, str]]:
    for field in fields(config):
        source = ctx.get_parameter_source(field.name)
        origin = source.name.lower().replace("default_map", "config file") if source else "derived"
        yield field.name, getattr(config, field.name), origin


def _written(value: Any) -> str:
    """Return a value as one writes it on the command line, or into an environment variable."""
    if not isinstance(value, tuple):
        return str(value)
    return shlex.join(f"{one[0]}={_figure(one[1])}" if isinstance(one, tuple) else str(one) for one in value)


def _figure(value: Any) -> str:
    return shlex.join(value) if isinstance(value, tuple) else str(value)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: a table is an object, a path is text."""
    if isinstance(value, Path):
        return str(value)
    if not isinstance(value, tuple):
        return value
    if any(isinstance(one, tuple) for one in value):
        return {name: _plain(one) for name, one in value}
    return [_plain(one) for one in value]
