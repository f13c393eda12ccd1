"""A host's own place in a cgroup hierarchy: a directory that holds the cgroups of its attempts.

The directory is locked as long as the host lives, so whoever gets the lock of another one knows that its host is dead,
without asking for pids, which mean nothing in another pid namespace. The kernel drops the lock with the process.
"""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final

from hundredfold_host.containment.cgroup import Cgroup

_PREFIX: Final = "hundredfold."


class Home:
    """The directory of the host `host_id` below `base`; what dead hosts have left there is removed first.

    Raises:
        OSError: it cannot be made.

    """

    def __init__(self, base: Path, host_id: str) -> None:
        remove_leftovers(base)
        self._base = base
        self.path = base / (_PREFIX + host_id)
        self.path.mkdir()
        self._free: list[Cgroup] = []
        self._made = 0
        self._lock = _lock(self.path)

    def take(self) -> Cgroup:
        """Return an empty cgroup, a used one if there is any: making and removing costs more than all other use."""
        if self._free:
            return self._free.pop()
        self._made += 1
        cgroup = Cgroup(self.path / str(self._made))
        os.mkdir(cgroup.path)  # noqa: PTH102  # a third of the cost
        return cgroup

    def give_back(self, cgroup: Cgroup) -> None:
        """Keep an empty cgroup for the next attempt."""
        self._free.append(cgroup)

    def close(self) -> None:
        """Remove everything that is empty; the rest is left to the next host."""
        _remove(self.path)
        if self._lock is not None:
            os.close(self._lock)
        remove_leftovers(self._base)  # a dead host's workers may have been killed only after this one had started


def remove_leftovers(base: Path) -> None:
    """Remove the empty directories of hosts that are dead. Kills nobody: that needs the identity of processes."""
    for path in base.glob(_PREFIX + "*"):
        lock = _lock(path)
        if lock is not None:
            _remove(path)
            os.close(lock)


def _lock(path: Path) -> int | None:
    """Return a descriptor that holds the lock of a directory; None if somebody else holds it, or it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        for child in path.iterdir():
            if child.is_dir():
                Cgroup(child).remove()
        path.rmdir()
