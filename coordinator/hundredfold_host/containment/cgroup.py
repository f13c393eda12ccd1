"""One cgroup: a directory whose files are read and written. See cgroups(7)."""

import contextlib
import os
import signal
from pathlib import Path

_BYTES = 64 * 1024


class Cgroup:
    """One directory of a cgroup hierarchy.

    Attributes:
        process_limit: what `pids.max` was set to last; 0 for no limit.

    """

    __slots__ = ("path", "process_limit")

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.process_limit = 0

    def open(self, name: str) -> int:
        """Open one of its files for writing."""
        return os.open(f"{self.path}/{name}", os.O_WRONLY | os.O_CLOEXEC)

    def write(self, name: str, text: str) -> None:
        """Write to one of its files, in one call, as the kernel wants it."""
        descriptor = self.open(name)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)

    def read(self, name: str) -> bytes:
        """Return the content of one of its files."""
        descriptor = os.open(f"{self.path}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            parts = []
            while part := os.read(descriptor, _BYTES):
                parts.append(part)
            return b"".join(parts)
        finally:
            os.close(descriptor)

    def has(self, name: str) -> bool:
        """Whether it has a file of that name."""
        return os.access(f"{self.path}/{name}", os.F_OK)

    def count(self, name: str, key: bytes) -> int:
        """Return a figure from one of its files that have a word and a figure in every line."""
        for line in self.read(name).splitlines():
            word, _, figure = line.partition(b" ")
            if word == key:
                return int(figure)
        return 0

    def limit_processes(self, limit: int) -> None:
        """Allow so many processes and threads in it; 0 for any number."""
        if limit != self.process_limit:
            self.write("pids.max", str(limit or "max"))
            self.process_limit = limit

    @property
    def empty(self) -> bool:
        """Whether nothing is in it, not even what has ended and was not reaped."""
        # This file is cheaper than `cgroup.procs`, for which version 1 sorts a list and keeps it.
        return self.read("pids.current").strip() == b"0"

    def members(self) -> set[int]:
        """Return the pids of all processes in it that live."""
        return set(map(int, self.read("cgroup.procs").split()))

    def kill_members(self) -> set[int]:
        """Send SIGKILL to every process in it; return their pids."""
        descriptors = {}
        for pid in self.members():
            with contextlib.suppress(OSError):  # it has ended, or this process has no descriptors left: the next call
                descriptors[pid] = os.pidfd_open(pid)
        # A pid may have become a stranger's between the list and the descriptor; no stranger is on a second list.
        found = self.members()
        for pid, descriptor in descriptors.items():
            if pid in found:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            os.close(descriptor)
        return found

    def remove(self) -> bool:
        """Remove it; return whether that could be done, which needs it to be empty."""
        try:
            os.rmdir(self.path)  # noqa: PTH106  # as everything in this class, for every attempt
        except OSError:
            return False
        return True
