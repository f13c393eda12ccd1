"""The built-in behaviours, registered through the same hook as everybody's."""

from collections.abc import Iterable
from typing import Any

from hundredfold.behaviour import Behaviour
from hundredfold.behaviours.command import command
from hundredfold.hooks import hookimpl


@hookimpl
def hundredfold_behaviours(commands: dict[str, list[str]]) -> Iterable[Behaviour[Any, Any]]:
    """Return one behaviour for each configured program."""
    return [command(name, argv) for name, argv in commands.items()]
