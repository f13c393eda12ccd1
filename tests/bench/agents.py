"""The behaviours the bench runs; loaded by the daemon under test with `--plugin`."""

import time
from pathlib import Path

from hundredfold import behaviour


@behaviour
def nap() -> None:
    """Sleep one second."""
    time.sleep(1)


@behaviour
def noop() -> None:
    """Do nothing."""


@behaviour
def hold(gate: str) -> None:
    """Wait, at no cost, until somebody opens the FIFO `gate` for writing."""
    with Path(gate).open("rb"):
        pass
