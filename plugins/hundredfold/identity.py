"""Identity of processes: pid, its namespace, start ticks and boot id, which together never mean another process.

Wall-clock times would not do: the clock can be set back. See proc_pid_stat(5), proc_sys_kernel(5)
and pid_namespaces(7).
"""

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from hundredfold.internal.v1 import records_pb2

_STAT_BYTES: Final = 4096
_STATE, _PARENT = 0, 1
_DEAD: Final = (b"Z", b"X")
_LOOKS: Final = 20
_START: Final = 19
"""Position of the start time behind the command name in /proc/PID/stat."""


def stat_fields(pid: int) -> list[bytes] | None:
    """Return the fields of /proc/PID/stat behind the command name; None if there is no such process."""
    # Without a file object, which takes six system calls more; this is done for every process in every sweep.
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):  # /proc may be mounted so that strangers are not shown
        return None
    try:
        data = os.read(descriptor, _STAT_BYTES)
    except ProcessLookupError:
        return None
    finally:
        os.close(descriptor)
    return data[data.rindex(b")") + 2 :].split()


def identity(pid: int) -> records_pb2.ProcessIdentity | None:
    """Return what tells a process from any other one; None if it does not exist."""
    fields = stat_fields(pid)
    if fields is None:
        return None
    return records_pb2.ProcessIdentity(
        pid=pid, start_ticks=int(fields[_START]), boot_id=boot_id(), pid_namespace=pid_namespace()
    )


def is_known_dead(wanted: records_pb2.ProcessIdentity) -> bool:
    """Return whether exactly this process is certain to be gone: false if it lives, and if nobody here can tell.

    Nobody can tell of a process of another machine, of another container, whose pids mean others here, and of one that
    /proc does not show (hidepid, see proc(5)).
    """
    if not is_of_here(wanted):
        return False
    found = identity(wanted.pid)
    return found != wanted if found else not _exists(wanted.pid)


def is_of_here(wanted: records_pb2.ProcessIdentity) -> bool:
    """Return whether a process's pid means it, or nobody, in this process."""
    return (wanted.boot_id, wanted.pid_namespace) == (boot_id(), pid_namespace())


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def descends_from(pid: int, ancestor: int) -> bool:
    """Return whether a process is below another one at this moment."""
    while pid > 1:
        fields = stat_fields(pid)
        if fields is None:
            return False
        pid = int(fields[_PARENT])
        if pid == ancestor:
            return True
    return False


def open_process(wanted: records_pb2.ProcessIdentity) -> int | None:
    """Return a pidfd of exactly this process; None if it is gone.

    The identity is compared after the pidfd is open, so the descriptor cannot mean a stranger.
    """
    try:
        descriptor = os.pidfd_open(wanted.pid)
    except OSError:
        return None
    if identity(wanted.pid) == wanted:
        return descriptor
    os.close(descriptor)
    return None


def has_ended(wanted: records_pb2.ProcessIdentity) -> bool:
    """Return whether exactly this process has ended, although nobody may have reaped it yet."""
    fields = stat_fields(wanted.pid)
    return fields is None or int(fields[_START]) != wanted.start_ticks or fields[_STATE] in _DEAD


def kill_trees(wanted: Iterable[records_pb2.ProcessIdentity]) -> dict[int, int]:
    """Send SIGKILL to exactly these processes and everything below them; those that are gone are left out.

    Each process is stopped first. If it is a subreaper, as workers are, nothing of its tree can leave it then; what is
    below it is stopped, too, until nothing new appears, and killed only then.

    Returns:
        by the pid of each process that was there, how many were killed below it.

    """
    roots = {process.pid: found for process in wanted if (found := open_process(process)) is not None}
    below: dict[int, set[int]] = {pid: set() for pid in roots}
    for descriptor in roots.values():
        _signal(descriptor, signal.SIGSTOP)
    for _ in range(_LOOKS):
        seen = _descendants(roots)
        fresh = {pid: seen[pid] - below[pid] for pid in roots}
        if not any(fresh.values()):
            break
        for pid, new in fresh.items():
            below[pid] |= new
            for one in new:
                _signal_pid(one, signal.SIGSTOP)
    for pid in set().union(*below.values()):
        _signal_pid(pid, signal.SIGKILL)
    for descriptor in roots.values():
        _signal(descriptor, signal.SIGKILL)
        os.close(descriptor)
    return {pid: len(found) for pid, found in below.items()}


def _signal(descriptor: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        signal.pidfd_send_signal(descriptor, number)


def _signal_pid(pid: int, number: signal.Signals) -> None:
    """Signal a process that has just been seen below a stopped one, which keeps its pid from being anybody else's."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _descendants(roots: Iterable[int]) -> dict[int, set[int]]:
    """Return for each process all that descend from it and have not ended."""
    families: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        fields = stat_fields(int(name)) if name.isdigit() else None
        if fields and fields[_STATE] not in _DEAD:
            families.setdefault(int(fields[_PARENT]), []).append(int(name))
    return {root: set(_below(root, families)) for root in roots}


def _below(root: int, families: Mapping[int, list[int]]) -> Iterator[int]:
    pending = [root]
    while pending:
        children = families.get(pending.pop(), [])
        yield from children
        pending += children


@cache
def pid_namespace() -> int:
    """Return the identity of the PID namespace that this process is in, which it never leaves."""
    return Path("/proc/self/ns/pid").stat().st_ino


@cache
def boot_id() -> str:
    """Return the identity of this run of the kernel."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
