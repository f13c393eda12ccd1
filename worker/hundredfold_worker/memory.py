"""The memory that a zygote shares with its workers, laid out so that forks and their ends are cheap.

A fork copies, and the end of a process undoes, one entry for every page of memory. Where the kernel can be had to put
512 pages into a huge one, that is one entry instead. See madvise(2), `MADV_COLLAPSE`, from Linux 6.1 on.
"""

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_HUGE_PAGE: Final = 2 << 20
_MADV_COLLAPSE: Final = 25

_madvise: Final = ctypes.CDLL(None).madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def collapse() -> None:
    """Put this process's own memory into huge pages as far as possible; where the kernel will not, nothing happens."""
    for start, end in _private_ranges(Path("/proc/self/maps").read_text()):
        first, last = -(-start // _HUGE_PAGE) * _HUGE_PAGE, end // _HUGE_PAGE * _HUGE_PAGE
        if first < last:
            _madvise(first, last - first, _MADV_COLLAPSE)


def _private_ranges(maps: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of all memory that is written to and belongs to no file, as proc_pid_maps(5) lists it."""
    for line in maps.splitlines():
        addresses, permissions, _, _, inode, *name = line.split(maxsplit=5)
        if permissions.startswith("rw") and inode == "0" and name in ([], ["[heap]"]):
            start, end = (int(address, 16) for address in addresses.split("-"))
            yield start, end
