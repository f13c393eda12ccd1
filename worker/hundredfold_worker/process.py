"""What a process can say and want of itself: its CPU, its title, its OOM score, its threads."""

import os
from typing import Final

import setproctitle

_OOM_SCORE: Final = b"500"


def offer_to_oom_killer() -> None:
    """Be chosen before daemons when the machine runs out of memory."""
    descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    os.write(descriptor, _OOM_SCORE)
    os.close(descriptor)


def set_title(title: str) -> None:
    """Set what `ps` shows for this process."""
    setproctitle.setproctitle(title)


def thread_count() -> int:
    """Return the number of threads of this process, native ones included."""
    return os.stat("/proc/self/task").st_nlink - 2  # noqa: PTH116  # before every fork; a listing costs four calls
