"""How much memory can still be had: of the machine, and of the cgroup that this daemon was put into.

See also: cgroups(7); `hundredfold_host.machine`, which makes samples of it.
"""

import mmap
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psutil

from hundredfold_host.containment.hierarchies import UNIFIED

_TRIAL_BYTES: Final = 16 << 20
_PAGE: Final = 4096
_UNLIMITED: Final = 1 << 62


class MemoryCgroup:
    """The tightest limit among this process's memory cgroup and those above it; none, if there is no limit.

    Attributes:
        limit_bytes: the limit; 0 for none.

    """

    def __init__(self, own: Mapping[str, Path], total_bytes: int) -> None:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", b"total_inactive_file ")
        base = own.get("memory")
        if base is None:
            base, names = own.get(UNIFIED), ("memory.max", "memory.current", b"inactive_file ")
        limit_file, self._usage_file, self._reclaimable = names
        limits = [(limit, path) for path in _upwards(base) if (limit := _limit(path / limit_file)) < total_bytes]
        self.limit_bytes, self._path = min(limits, default=(0, Path()))

    def free_bytes(self) -> int:
        """Return what it may still use: what the kernel would give up before it ends something counts as free."""
        used = int((self._path / self._usage_file).read_bytes())
        for line in (self._path / "memory.stat").read_bytes().splitlines():
            if line.startswith(self._reclaimable):
                used -= int(line[len(self._reclaimable) :])
        return max(0, self.limit_bytes - used)


def fault_rate() -> float:
    """Return how many bytes per second this machine can begin to use, on all of its CPUs; measured, in milliseconds."""
    begin = time.perf_counter()
    with mmap.mmap(-1, _TRIAL_BYTES) as trial:
        trial[::_PAGE] = b"\1" * (_TRIAL_BYTES // _PAGE)
    return _TRIAL_BYTES / (time.perf_counter() - begin) * (psutil.cpu_count() or 1)


def _upwards(path: Path | None) -> list[Path]:
    return [] if path is None else [one for one in (path, *path.parents) if (one / "memory.stat").exists()]


def _limit(path: Path) -> int:
    try:
        text = path.read_text().strip()
    except OSError:
        return _UNLIMITED
    return _UNLIMITED if text == "max" else int(text)
