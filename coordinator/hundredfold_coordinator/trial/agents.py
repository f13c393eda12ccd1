"""The behaviours of `hundredfold bench`; its coordinators load this file as a plugin, and nothing else imports it."""

from pathlib import Path

from hundredfold import behaviour


@behaviour
def hold(gate: str) -> None:
    """Wait, at no cost, until somebody opens the FIFO `gate` for writing."""
    with Path(gate).open("rb"):
        pass


@behaviour
def noop() -> None:
    """Do nothing."""


@behaviour
def queued() -> None:
    """Do nothing, if it is ever started: the coordinator of this measurement allows none."""
