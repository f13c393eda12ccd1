"""The lock on the data directory: one coordinator at a time, and a clear word to the second one."""

import asyncio
import fcntl
import logging
import os
import signal
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any, Final

from hundredfold.errors import DataDirectoryBusy

_log: Final = logging.getLogger(__name__)
_POLL_SECONDS: Final = 0.1


class DataDirectoryLock:
    """An exclusive flock(2) on `lock` in a data directory; the kernel frees it when the process ends, however it does.

    `flock`, not `lockf`: it belongs to the descriptor, which no child inherits.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "lock"
        self._descriptor = -1

    async def wait(self) -> None:
        """Take the lock as soon as it is free; say whom it waits for, and again when that is another one."""
        told = ""
        while True:
            try:
                self.acquire()
            except DataDirectoryBusy as busy:
                if busy.holder != told:
                    _log.info("standing by: %s is in use by %s", busy.data_dir, busy.holder)
                    told = busy.holder
                # Not a blocking flock: that could not be interrupted, and would not notice another holder.
                await asyncio.sleep(_POLL_SECONDS)
            else:
                return

    def acquire(self) -> None:
        """Take the lock. Idempotent.

        Raises:
            DataDirectoryBusy: another process has it; the error names that process.

        """
        if self._descriptor >= 0:
            return
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


async def stand_by(awaited: Coroutine[Any, Any, None], end_signals: Iterable[signal.Signals]) -> bool:
    """Wait for something; return whether it came before a signal told this process to end."""
    loop = asyncio.get_running_loop()
    waiting = asyncio.ensure_future(awaited)
    for number in end_signals:
        loop.add_signal_handler(number, waiting.cancel)
    await asyncio.wait([waiting])
    for number in end_signals:
        loop.remove_signal_handler(number)
    if not waiting.cancelled():
        waiting.result()
    return not waiting.cancelled()
