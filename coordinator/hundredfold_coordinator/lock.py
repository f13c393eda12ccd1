"""The lock on the data directory: one coordinator at a time, and a clear word to the second one."""

import fcntl
import os
from pathlib import Path

from hundredfold.errors import DataDirectoryBusy


class DataDirectoryLock:
    """An exclusive flock(2) on `lock` in a data directory; the kernel frees it when the process ends, however it does.

    `flock`, not `lockf`: it belongs to the descriptor, which no child inherits.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "lock"
        self._descriptor = -1

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            DataDirectoryBusy: another process has it; the error names that process.

        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode().strip() or "unknown"
            os.close(descriptor)
            raise DataDirectoryBusy(str(self._path.parent), f"the coordinator with pid {holder}") from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Free the lock. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
