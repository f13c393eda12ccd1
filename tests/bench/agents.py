"""The behaviours the bench runs; loaded by the daemon under test with `--plugin`."""

import time
from pathlib import Path

from hundredfold import behaviour

_POLL_SECONDS = 0.2


@behaviour
def nap() -> None:
    """Sleep one second."""
    time.sleep(1)


@behaviour
def noop() -> None:
    """Do nothing."""


@behaviour
def hold(gate: str) -> None:
    """Wait until the file `gate` exists."""
    path = Path(gate)
    while not path.exists():
        time.sleep(_POLL_SECONDS)
