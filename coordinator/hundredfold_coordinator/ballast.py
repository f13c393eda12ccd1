"""The ballast: a file whose only use is its size, given up when the disk is full, so that work can be finished."""

import errno
import os
from pathlib import Path
from typing import Final

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)


class Ballast:
    """A file of `size` bytes at `path`; there is none if `size` is 0."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size

    def make(self) -> bool:
        """Have the file there, allocated and not only long; return whether there was room for it. Idempotent.

        Raises:
            OSError: something else than room is missing.

        """
        if not self._size:
            self._path.unlink(missing_ok=True)
            return True
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self._size)
            os.ftruncate(descriptor, self._size)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            self._path.unlink()  # a part of it would take what little room there is
            return False
        finally:
            os.close(descriptor)
        return True

    def release(self) -> bool:
        """Give it up; return whether there was any."""
        try:
            self._path.unlink()
        except FileNotFoundError:
            return False
        return True
