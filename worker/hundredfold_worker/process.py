"""What Linux offers a process about itself, beyond the standard library: prctl(2), its title, its OOM score."""

import ctypes
import os
import signal
from typing import Final

import setproctitle

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_OOM_SCORE: Final = b"500"

_libc: Final = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends. Not inherited by forks."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends (a child subreaper), as long as this process lives."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


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


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
