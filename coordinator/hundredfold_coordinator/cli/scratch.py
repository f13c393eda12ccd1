"""Room for the stores of a trial, which nobody needs afterwards, and what keeps its coordinators to that."""

import os
import tempfile
from pathlib import Path
from typing import Final

_DISK: Final = Path("/var/tmp")  # noqa: S108  # /tmp is often memory, where a commit costs nothing, and agents have less


def scratch(command: str) -> "tempfile.TemporaryDirectory[str]":
    """Return a directory that lasts as long as it is used with `with`: on a disk, or where `TMPDIR` says."""
    parent = _DISK if "TMPDIR" not in os.environ and os.access(_DISK, os.W_OK) else None
    return tempfile.TemporaryDirectory(prefix=f"hundredfold-{command}-", dir=parent)


def apart(data_dir: Path) -> list[str]:
    """Return arguments of `serve` for a coordinator that nobody shares: settings for all others may say otherwise."""
    return ["--store", f"sqlite:{data_dir / 'hundredfold.db'}", "--listen", ""]
