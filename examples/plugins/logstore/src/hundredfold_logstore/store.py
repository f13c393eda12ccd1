"""The store: what `MemoryStore` does, made durable by a log that is read again when the store is opened."""

import base64
import errno
import fcntl
import json
import os
from collections.abc import Iterable
from pathlib import Path

from hundredfold.errors import StoreFull, StoreUnavailable
from hundredfold.stores.contract import Batch, Capabilities, Committed, Conflict, Guard, Write
from hundredfold.stores.memory import MemoryStore

_RETRY_SECONDS = 5


class LogStore(MemoryStore):
    """A log at `path`, made if it is missing; one process may have it open.

    Raises:
        StoreUnavailable: it cannot be opened; the error says what to do.

    """

    capabilities = Capabilities(durable=True, shared=False)

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.url = f"log:{path}"
        try:
            self._file = path.open("a+b", buffering=0)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise self._unavailable(error) from error
        self._read()

    def commit(self, batches: Iterable[Batch], guard: Guard | None = None) -> list[Committed | Conflict]:
        """See `Store.commit`: in the log first, and synced; a crash in between loses nothing that was answered."""
        batches = list(batches)
        plan = self.plan(batches, guard)
        self._append(_line(batches))  # conflicts, too: the same line comes to the same when it is read
        self.apply(plan)
        return plan.results

    def close(self) -> None:
        """See `Store.close`."""
        self._file.close()

    def _append(self, line: bytes) -> None:
        end = self._file.seek(0, os.SEEK_END)
        try:
            whole = self._file.write(line) == len(line)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise self._unavailable(error) from error
            whole = False
        if not whole:
            self._file.truncate(end)  # half a line is no line
            raise StoreFull(_RETRY_SECONDS)
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._unavailable(error) from error  # nobody knows what is on the disk: this is the end

    def _read(self) -> None:
        """Do again what the log says; what comes after its last whole line was never answered."""
        self._file.seek(0)
        whole = 0
        for line in self._file.readlines():
            if not line.endswith(b"\n"):
                break
            super().commit(_batches(line))
            whole += len(line)
        self._file.truncate(whole)

    def _unavailable(self, error: OSError) -> StoreUnavailable:
        busy = "another process has it open" if isinstance(error, BlockingIOError) else str(error.strerror)
        return StoreUnavailable(url=self.url, problem=busy)


def _line(batches: list[Batch]) -> bytes:
    writes = [[[_text(one.key), _text(one.value), one.expects] for one in batch.writes] for batch in batches]
    return json.dumps(writes).encode() + b"\n"


def _batches(line: bytes) -> list[Batch]:
    return [
        Batch([Write(_bytes(key) or b"", _bytes(value), expects) for key, value, expects in writes])
        for writes in json.loads(line)
    ]


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
