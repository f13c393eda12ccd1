"""The high-water mark: how far a store was known to be durable, kept beside it and apart from it.

One flipped byte in a write-ahead log makes SQLite drop everything behind it, silently, and call the rest in order. A
number of 16 bytes in another file knows better.

Two slots, a page apart, are written in turns: one holds what was last synced while the other one is overwritten, so
that a torn write costs nothing but the newest second.
"""

import os
import time
from pathlib import Path
from struct import Struct
from typing import Final
from zlib import crc32

_MAGIC: Final = b"HFMARK01"
_SLOT: Final = Struct(">8sQI")
_SLOT_OFFSETS: Final = (0, 4096)
_SYNC_SECONDS: Final = 1.0


class HighWaterMark:
    """The mark in the file at `path`, which is made with mode 0600 if it is missing.

    Attributes:
        version: the highest version that was ever noted; 0 if none was.

    Raises:
        OSError: from every method, what the file system says.

    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        found = [self._read(offset) for offset in _SLOT_OFFSETS]
        self.version = max(found)
        # The slot that holds the newest is what a torn write must not hit.
        self._slot = found.index(min(found))
        self._synced = time.monotonic()
        if os.fstat(self._descriptor).st_size == 0:
            self._make(path)

    def note(self, version: int) -> None:
        """Remember a version that is durable. Synced at most once a second, and at `close`."""
        self.version = version
        self._write()
        if time.monotonic() - self._synced >= _SYNC_SECONDS:
            self._sync()

    def close(self) -> None:
        """Sync and close. Idempotent."""
        if self._descriptor >= 0:
            self._sync()
            self.abandon()

    def abandon(self) -> None:
        """Close without a sync. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _make(self, path: Path) -> None:
        # Written whole, so that no later write needs room on the disk.
        os.pwrite(self._descriptor, bytes(2 * _SLOT_OFFSETS[1]), 0)
        os.fsync(self._descriptor)
        sync_directory(path.parent)

    def _write(self) -> None:
        body = _MAGIC + self.version.to_bytes(8)
        os.pwrite(self._descriptor, body + crc32(body).to_bytes(4), _SLOT_OFFSETS[self._slot])

    def _sync(self) -> None:
        os.fdatasync(self._descriptor)
        self._slot = 1 - self._slot
        self._synced = time.monotonic()

    def _read(self, offset: int) -> int:
        data = os.pread(self._descriptor, _SLOT.size, offset)
        if len(data) < _SLOT.size:
            return 0
        magic, version, checksum = _SLOT.unpack(data)
        return int(version) if magic == _MAGIC and checksum == crc32(data[:-4]) else 0


def sync_directory(path: Path) -> None:
    """Make the entries of a directory durable.

    Raises:
        OSError: what the file system says.

    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
