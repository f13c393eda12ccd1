"""Processes as /proc shows them: figures and families.

Reads proc(5) files directly where one scan serves all workers; psutil measures the rest (see `monitor`).
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hundredfold.identity import stat_fields

# Positions behind the command name in /proc/PID/stat.
_STATE, _PPID, _SESSION, _UTIME, _STIME, _THREADS, _START = 0, 1, 3, 11, 12, 17, 19
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Stat:
    """One process at one moment.

    Attributes:
        parent: pid of its parent.
        session: id of its session.
        cpu_seconds: CPU time it used itself.
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
    cpu = (int(fields[_UTIME]) + int(fields[_STIME])) / _TICKS
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
