"""Whom the kernel ends first when the machine has no memory left: agents before daemons.

See also: proc_pid_oom_score_adj(5).
"""

import contextlib
import os
from typing import Final

_AGENT: Final = 500
_DAEMON: Final = -500


def offer() -> None:
    """Let this process, and what it will start, be chosen before daemons."""
    _set(_AGENT)


def protect() -> None:
    """Let this process be chosen late, if it may ask for that; what it starts inherits it, and must take it back."""
    with contextlib.suppress(PermissionError):  # an ordinary user: its agents are offered, which says the same
        _set(_DAEMON)


def _set(score: int) -> None:
    descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    try:
        os.write(descriptor, str(score).encode())
    finally:
        os.close(descriptor)
