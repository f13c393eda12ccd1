"""What it takes to repeat a trial: its command, where that was given, and what it was told otherwise."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from hundredfold_coordinator.cli import serve
from hundredfold_coordinator.cli.scratch import apart

_ELSEWHERE: Final = {ParameterSource.ENVIRONMENT: "environment", ParameterSource.DEFAULT_MAP: "configuration file"}
_ALWAYS: Final = ("--data-dir", ".", "--orphan-seconds", "1", "--concurrency", "1", *apart(Path()))
"""What every coordinator of a trial is told on its command line, whatever the environment says."""


def repetition(arguments: Sequence[str]) -> dict[str, Any]:
    """Return what repeats the current command; `arguments` are those of its coordinators.

    Settings that are in the environment or the configuration file are listed: nobody else would know of them. Its own
    are there with those that coordinators read for themselves.
    """
    own = click.get_current_context()
    told = [*_ALWAYS, "-o", own.params["output_format"], *arguments]  # it would be taken for that of this command
    coordinator = serve.command.make_context("serve", told, parent=own.find_root())
    return {
        "command": shlex.join(["hundredfold", *sys.argv[1:]]),
        "directory": str(Path.cwd()),
        "settings": [*_settings(own), *_settings(coordinator)],
    }


def _settings(ctx: click.Context) -> Iterator[dict[str, str]]:
    for option in ctx.command.params:
        name = option.name or ""
        origin = _ELSEWHERE.get(ctx.get_parameter_source(name) or ParameterSource.DEFAULT)
        if origin:
            yield {"of": ctx.command.name or "", "setting": name, "value": _text(ctx.params[name]), "origin": origin}


def _text(value: Any) -> str:
    return shlex.join(map(str, value)) if isinstance(value, tuple) else str(value)
