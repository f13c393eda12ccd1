"""Leftovers: the processes that a program has started and that have not ended with it, however deep they hide.

A process whose parent has ended is adopted by its nearest subreaper (prctl(2)); here, that is this one.

See also: `summary.py`, which reports that there are none.
"""

import ctypes
import os
import time
from contextlib import suppress
from typing import Final

import psutil

_PR_SET_CHILD_SUBREAPER: Final = 36
_POLL_SECONDS: Final = 0.05


def adopt_orphans() -> None:
    """Become the parent of every orphan among this process's descendants."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def left_running(patience_seconds: float = 15) -> list[str]:
    """Return the command lines of descendants that do not end in the given time."""
    deadline = time.monotonic() + patience_seconds
    while (left := _descendants()) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return left


def _descendants() -> list[str]:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:  # adopted ones that have ended
            pass
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found.append(f"{process.pid} {' '.join(process.cmdline())}")
    return found
