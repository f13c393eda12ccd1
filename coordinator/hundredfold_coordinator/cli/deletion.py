"""How commands delete what they are given the names of: all that can be, and a word about everything else."""

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import click
from hundredfold import wording
from hundredfold.errors import HundredfoldError

from hundredfold_coordinator.cli import output, tell
from hundredfold_coordinator.cli.naming import Invocation

_OF_ONE_NAME: Final = ("NOT_FOUND", "FAILED_PRECONDITION")
"""Codes of errors that say nothing about the other names."""


async def delete_each(
    noun: str, names: Sequence[str], delete: Callable[[str], Awaitable[None]], output_format: str
) -> None:
    """Delete what has one of `names` and can be deleted; leave with the exit code of the first that cannot be."""
    invocation = click.get_current_context().ensure_object(Invocation)
    refusals: list[int] = []
    for name in names:
        try:
            await delete(name)
        except HundredfoldError as error:
            if error.code not in _OF_ONE_NAME:
                raise
            refusals.append(tell(invocation, error))
        else:
            if output_format == "json":
                output.write_json({"deleted": name})
    if output_format != "json" and len(refusals) < len(names):
        output.note(f"deleted {wording.counted(len(names) - len(refusals), noun)}")
    if refusals:
        sys.exit(refusals[0])
