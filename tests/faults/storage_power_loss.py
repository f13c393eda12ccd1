"""A disk that forgets, for simulated power cuts: what SQLite has not synced is gone with the process.

As a program it is `hundredfold`, over such a disk: `storage_power_loss.py SYNCHRONOUS SEED serve ...`. SYNCHRONOUS is
SQLite's setting: `FULL` is the product, `NORMAL` and `OFF` switch its protection off.

Not simulated: creations and deletions of files are there at once, and so is what is written past SQLite.
"""

import os
import random
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import apsw
import psutil
from hundredfold import SyncClient
from hundredfold.client.submission import Submission, result_of
from hundredfold.errors import HundredfoldError, UnknownTask
from hundredfold.stores import sqlite
from hundredfold.testing.coordinator import READY

_SECTOR: Final = 512
_THROUGH: Final = 0.2
"""Share of the writes of which something reaches the disk before it is synced."""


class ForgetfulDisk(apsw.VFS):
    """SQLite's default file system, but writes wait in memory for their sync. Some sectors go ahead, in no order."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__("forgetful", "unix", makedefault=True)
        self._chance = chance

    def xOpen(self, name: Any, flags: list[int]) -> "ForgetfulFile":  # noqa: N802  # SQLite's name
        return ForgetfulFile(name, flags, self._chance)


class ForgetfulFile(apsw.VFSFile):
    """One file: what SQLite sees of it, and what it still has to write."""

    def __init__(self, name: Any, flags: list[int], chance: random.Random) -> None:
        super().__init__("unix", name, flags)
        self._chance = chance
        self._seen = bytearray(super().xRead(super().xFileSize(), 0))
        self._pending: list[tuple[int, bytes | None]] = []

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        return bytes(self._seen[offset : offset + amount])

    def xFileSize(self) -> int:  # noqa: N802
        return len(self._seen)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._seen.extend(bytes(max(0, offset - len(self._seen))))
        self._seen[offset : offset + len(data)] = data
        self._pending.append((offset, bytes(data)))
        if self._chance.random() < _THROUGH:
            for start in range(0, len(data), _SECTOR):
                if self._chance.random() < 0.5:
                    super().xWrite(data[start : start + _SECTOR], offset + start)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        del self._seen[size:]
        self._pending.append((size, None))

    def xSync(self, flags: int) -> None:  # noqa: ARG002, N802
        # Written is enough: the end of a process takes nothing from the kernel's cache.
        for offset, data in self._pending:
            if data is None:
                super().xTruncate(offset)
            else:
                super().xWrite(data, offset)
        self._pending.clear()


class Machine:
    """A coordinator on a forgetful disk, and everything that it starts, until the power goes."""

    def __init__(self, data_dir: Path, seed: int, synchronous: str, arguments: Sequence[str]) -> None:
        self._address = f"unix:{data_dir.resolve() / 'api.sock'}"
        argv = [sys.executable, __file__, synchronous, str(seed), "serve", "--data-dir", str(data_dir)]
        environment = {key: text for key, text in os.environ.items() if not key.startswith(("HUNDREDFOLD_", "XDG_"))}
        self._process = subprocess.Popen(
            [*argv, "--ballast-bytes", "0", *arguments],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.log = ""
        for line in self._process.stderr or ():
            self.log += line
            if READY in line:
                return
        self.cut_power()
        raise AssertionError(self.log)

    def client(self) -> SyncClient:
        """Return a client of it; close it after use."""
        return SyncClient(self._address)

    def cut_power(self) -> None:
        """Kill every process at once. Idempotent."""
        with suppress(psutil.NoSuchProcess):
            coordinator = psutil.Process(self._process.pid)
            coordinator.suspend()  # nothing is written any more while the others are looked for
            for child in coordinator.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            coordinator.kill()
        self._process.wait()
        if self._process.stderr:
            self._process.stderr.close()


class Ledger:
    """What a client was told: which tasks are accepted, and what their results are."""

    def __init__(self) -> None:
        self.accepted: dict[str, str] = {}
        self.results: dict[str, Any] = {}
        self._requests = 0

    def write_until_cut(self, machine: Machine, seconds: float) -> None:
        """Submit tasks and take their results until the power goes, after so many seconds."""
        cut = threading.Timer(seconds, machine.cut_power)
        with machine.client() as client, suppress(HundredfoldError):
            client.environments()  # waits until plugins are imported
            cut.start()
            while True:
                self._write(client)
        cut.join()

    def losses(self, client: SyncClient) -> list[str]:
        """Wait for every accepted task; return what is not as it was told."""
        found = [f"check: {problem}" for problem in client.check_store().problems]
        for request_id, task_id in self.accepted.items():
            try:
                result = result_of(client.wait(task_id, timeout_seconds=30))
            except UnknownTask:
                found.append(f"task {task_id} is lost")
                continue
            if result != self.results.setdefault(task_id, result):
                found.append(f"task {task_id} has another result than before")
            if client.submit("draw", request_id=request_id).id != task_id:
                found.append(f"request {request_id} made a second task")
        return found

    def _write(self, client: SyncClient) -> None:
        requests = [f"r{self._requests + number}" for number in range(4)]
        self._requests += len(requests)
        for request_id, task in zip(requests, client.submit_many(map(_draw, requests)), strict=True):
            if not isinstance(task, HundredfoldError):
                self.accepted[request_id] = task.id
        for ended in client.as_ended(list(self.accepted.values())[-8:], timeout_seconds=0.05):
            self.results[ended.id] = result_of(ended)


def _draw(request_id: str) -> Submission:
    return Submission("draw", request_id=request_id)


def _main(synchronous: str, seed: str) -> None:
    from hundredfold_coordinator.cli import main

    disk = ForgetfulDisk(random.Random(int(seed)))  # kept: SQLite holds no reference
    sqlite._PRAGMAS = sqlite._PRAGMAS.replace("= FULL", f"= {synchronous}")  # type: ignore[misc]
    main()
    del disk


if __name__ == "__main__":
    _, chosen, chosen_seed, *sys.argv[1:] = sys.argv
    _main(chosen, chosen_seed)
