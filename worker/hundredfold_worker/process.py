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


def stay_on_one_cpu() -> set[int]:
    """Stay on one of the CPUs this process may use; return all of them, for `os.sched_setaffinity` later.

    While several threads start on several CPUs, every page that is copied on write interrupts the other CPU
    (a TLB shootdown): with both kept on one, a worker starts with about a tenth less CPU time.
    """
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(cpus)[os.getpid() % len(cpus)]})
    return cpus


def set_title(title: str) -> None:
    """Set what `ps` shows for this process."""
    setproctitle.setproctitle(title)


def thread_count() -> int:
    """Return the number of threads of this process, native ones included."""
    return len(os.listdir("/proc/self/task"))
