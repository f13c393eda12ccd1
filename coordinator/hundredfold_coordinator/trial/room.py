"""How many processes a machine lets be: the least of what kernel, cgroups and the user's limits allow."""

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import psutil

_KERNEL = Path("/proc/sys/kernel")
_CGROUPS = Path("/sys/fs/cgroup")


def processes_left() -> int | None:
    """Return how many processes and threads more there may be; None for any number."""
    return min(_left(), default=None)


def _left() -> Iterator[int]:
    threads = sum(_threads_of(process) for process in psutil.process_iter())
    for name in ("pid_max", "threads-max"):
        most = _number(_KERNEL / name)
        if most is not None:
            yield max(0, most - threads)
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if os.geteuid() and limit >= 0:  # root is not held to it
        yield max(0, limit - sum(_threads_of(one) for one in psutil.process_iter() if _is_own(one)))
    for directory in _cgroups():
        most, current = _number(directory / "pids.max"), _number(directory / "pids.current")
        if most is not None and current is not None:
            yield max(0, most - current)


def _cgroups() -> Iterator[Path]:
    """Yield the cgroups this process is in, and those above them, of version 2 and of version 1."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in ("", "pids"):
                own = _CGROUPS / controllers / path.lstrip("/")
                yield from (one for one in (own, *own.parents) if one.is_relative_to(_CGROUPS))


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None  # else it is "max"


def _threads_of(process: psutil.Process) -> int:
    try:
        return process.num_threads()
    except psutil.Error:
        return 0


def _is_own(process: psutil.Process) -> bool:
    try:
        return process.uids().real == os.getuid()
    except psutil.Error:
        return False
