"""Workers that stand aside: each hands its credential on and waits, so that a test can speak in its place."""

import os
import signal
from pathlib import Path
from typing import Any

from hundredfold import behaviour
from hundredfold_worker import bootstrap


def stand_aside(channel: Any, *_given: Any) -> bool:
    """Write the credential next to the worker socket, as `credential-PID`, and never say a word."""
    path = Path(channel._address.removeprefix("unix:")).with_name(f"credential-{os.getpid()}")
    path.with_suffix(".new").write_text(channel._secret)
    path.with_suffix(".new").rename(path)  # whole or not at all
    while True:
        signal.pause()


bootstrap.work = stand_aside  # type: ignore[assignment]


@behaviour
def anything(text: str = "") -> str:
    """Never run."""
    return text
