"""Who descends from this process, what they used, and their end: proc(5), prctl(2), wait(2).

The bench is a subreaper and starts nothing but what it measures, so RUSAGE_CHILDREN is complete once all are reaped.
"""

import contextlib
import ctypes
import os
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_UTIME, _STIME, _CUTIME, _CSTIME = 11, 12, 13, 14  # positions behind the command name in /proc/PID/stat
_TICKS = os.sysconf("SC_CLK_TCK")
_KILL_SECONDS = 20.0
_POLL_SECONDS = 0.01


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def cpu_of_ended() -> float:
    """Return the CPU seconds of all descendants that were reaped so far."""
    return _seconds(resource.RUSAGE_CHILDREN)


def cpu_of_self() -> float:
    """Return the CPU seconds of this process."""
    return _seconds(resource.RUSAGE_SELF)


def cpu_of_machine() -> float:
    """Return the CPU seconds of everything on this machine, what a hypervisor took included."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / _TICKS


def cpu_of(pid: int) -> tuple[float, float]:
    """Return the CPU seconds of a process, and of the children it reaped; zeros if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0, 0.0
    own, children = int(fields[_UTIME]) + int(fields[_STIME]), int(fields[_CUTIME]) + int(fields[_CSTIME])
    return own / _TICKS, children / _TICKS


def pss(pid: int) -> int:
    """Return the proportional set size of a process in bytes; 0 if it is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def children(pid: int) -> list[int]:
    """Return the children of a process, zombies included."""
    found = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found += [int(child) for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split()]
    return found


def descendants(pid: int) -> Iterator[int]:
    """Yield all descendants of a process."""
    for child in children(pid):
        yield child
        yield from descendants(child)


def reap() -> bool:
    """Reap what has ended; return whether nothing is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return True
    return False


def end_all() -> int:
    """Kill and reap every descendant of this process; return how many there were.

    Raises:
        TimeoutError: some do not die.

    """
    deadline = time.monotonic() + _KILL_SECONDS
    killed: set[int] = set()
    while not reap():
        for pid in descendants(os.getpid()):
            killed.add(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise TimeoutError(f"still alive {_KILL_SECONDS:g} s after SIGKILL: {list(descendants(os.getpid()))}")
        time.sleep(_POLL_SECONDS)
    return len(killed)


def _seconds(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime
