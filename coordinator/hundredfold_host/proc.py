"""Processes as /proc shows them: figures and families.

Reads proc(5) files directly where one scan serves all workers; psutil measures the rest (see `monitor`).
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hundredfold.identity import stat_fields

# Positions behind the command name in /proc/PID/stat.
_STATE, _PPID, _SESSION, _UTIME, _STIME, _CUTIME, _CSTIME, _THREADS, _START = 0, 1, 3, 11, 12, 13, 14, 17, 19
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Stat:
    """One process at one moment.

    Attributes:
        parent: pid of its parent.
        session: id of its session.
        cpu_seconds: CPU time it used itself, and that of children it has waited for.
        threads: how many it has.
        start_ticks: when it was started, which tells it from a later process with the same pid.
        ended: whether it only waits to be reaped.

    """

    pid: int
    parent: int
    session: int
    cpu_seconds: float
    threads: int = 1
    start_ticks: int = 0
    ended: bool = False


def read_stat(pid: int) -> Stat | None:
    """Return the process's figures; None if there is no such process."""
    fields = stat_fields(pid)
    if fields is None:
        return None
    cpu = sum(int(fields[place]) for place in (_UTIME, _STIME, _CUTIME, _CSTIME)) / _TICKS
    ended = fields[_STATE] in (b"Z", b"X")
    return Stat(pid, int(fields[_PPID]), int(fields[_SESSION]), cpu, int(fields[_THREADS]), int(fields[_START]), ended)


def scan() -> dict[int, Stat]:
    """Return every process of the machine, by pid."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return {stat.pid: stat for stat in map(read_stat, pids) if stat}


def families(processes: dict[int, Stat]) -> dict[int, list[int]]:
    """Return the children of every process that has some."""
    children: dict[int, list[int]] = {}
    for stat in processes.values():
        children.setdefault(stat.parent, []).append(stat.pid)
    return children


def tree(root: int, children: dict[int, list[int]]) -> Iterator[int]:
    """Yield `root` and all its descendants."""
    pending = [root]
    while pending:
        pid = pending.pop()
        yield pid
        pending.extend(children.get(pid, ()))


def children_of_this_process() -> set[int]:
    """Return the pids of all children, those adopted as a subreaper included."""
    return children_of(os.getpid())


def children_of(pid: int) -> set[int]:
    """Return the pids of all children of a process; none if it is gone."""
    found: set[int] = set()
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except FileNotFoundError:
        return found
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:  # noqa: PTH123  # as above
                found.update(map(int, file.read().split()))
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread has ended
    return found


def private_bytes(pid: int) -> int:
    """Return roughly how much memory the end of a process would give back, fast: 10 microseconds; 0 if it is gone."""
    try:
        descriptor = os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return 0
    try:
        _, resident, shared, *_ = os.read(descriptor, 200).split()
    except (ProcessLookupError, ValueError):
        return 0
    finally:
        os.close(descriptor)
    return (int(resident) - int(shared)) * _PAGE


def resident_bytes(pid: int) -> int:
    """Return how much memory a process has, shared or not; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:  # noqa: PTH123  # as above
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def cpu_wait_seconds(pid: int) -> float:
    """Return how long a process's first thread was ready to run and had no CPU; 0 if nobody counts that."""
    try:
        with open(f"/proc/{pid}/schedstat", "rb") as file:  # noqa: PTH123  # as above
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def descriptors_of(pid: int) -> int:
    """Return how many descriptors a process has open; 0 if that is not ours to see."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0
