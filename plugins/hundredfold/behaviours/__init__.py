"""The built-in behaviours and embedders, registered through the same hooks as everybody's."""

from collections.abc import Iterable
from typing import Any

from hundredfold.behaviour import Behaviour
from hundredfold.behaviours.command import command
from hundredfold.embedder import Embedder, wordllama
from hundredfold.hooks import hookimpl


@hookimpl
def hundredfold_behaviours(commands: dict[str, list[str]]) -> Iterable[Behaviour[Any, Any]]:
    """Return one behaviour for each configured program."""
    return [command(name, argv) for name, argv in commands.items()]


@hookimpl
def hundredfold_embedders() -> Iterable[Embedder]:
    """Return the one whose model comes in a wheel."""
    return [wordllama]
