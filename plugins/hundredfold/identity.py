"""Identity of processes: pid, start ticks and boot id, which together never mean another process.

Wall-clock times would not do: the clock can be set back. See proc_pid_stat(5) and proc_sys_kernel(5).
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from hundredfold.internal.v1 import records_pb2

_STAT_BYTES: Final = 4096
_STATE, _PARENT = 0, 1
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
    return records_pb2.ProcessIdentity(pid=pid, start_ticks=int(fields[_START]), boot_id=boot_id())


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


def kill_tree(wanted: records_pb2.ProcessIdentity) -> None:
    """Send SIGKILL to exactly this process and everything below it; do nothing if it is gone.

    The process is stopped first. If it is a subreaper, as workers are, nothing of its tree can leave it then, and what
    its tree starts meanwhile is found by looking again.
    """
    descriptor = open_process(wanted)
    if descriptor is None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        signal.pidfd_send_signal(descriptor, signal.SIGSTOP)
        for _ in range(_LOOKS):
            below = [found for pid in _descendants(wanted.pid) if (found := identity(pid))]
            if not below:
                break
            for process in below:
                _kill(process)
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    os.close(descriptor)


def _kill(wanted: records_pb2.ProcessIdentity) -> None:
    descriptor = open_process(wanted)
    if descriptor is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        os.close(descriptor)


def _descendants(root: int) -> Iterator[int]:
    """Yield all that descend from a process and have not ended."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        fields = stat_fields(int(name)) if name.isdigit() else None
        if fields and fields[_STATE] not in (b"Z", b"X"):
            parents.setdefault(int(fields[_PARENT]), []).append(int(name))
    pending = [root]
    while pending:
        children = parents.get(pending.pop(), [])
        yield from children
        pending += children


@cache
def boot_id() -> str:
    """Return the identity of this run of the kernel."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
