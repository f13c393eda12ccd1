"""A real coordinator for tests: started on a directory of its own, stopped with everything it had started.

Plugin authors use it to run their behaviours as users will; Hundredfold's own integration tests use nothing else.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hundredfold.client import SyncClient
from hundredfold.errors import HundredfoldError

READY: Final = "hundredfold serves at"
_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 30.0


class CoordinatorProcess:
    """A coordinator that runs as a child process on `data_dir`; `arguments` are those of `hundredfold serve`.

    Attributes:
        log: what it has written to its standard error.

    Raises:
        AssertionError: it does not get ready; the message is its log.

    """

    def __init__(self, data_dir: Path, arguments: Sequence[str] = ()) -> None:
        self.data_dir = data_dir
        self.log = ""
        # Without XDG_RUNTIME_DIR the sockets lie in the data directory, and go with it.
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("HUNDREDFOLD_", "XDG_"))}
        environment["HUNDREDFOLD_BALLAST_BYTES"] = "0"  # the directories of many tests would take gigabytes
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hundredfold_coordinator", "serve", "--data-dir", str(data_dir), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        if not self._ready.wait(_START_SECONDS) or READY not in self.log:
            self._process.kill()
            self._process.wait()
            self._close()
            raise AssertionError(f"the coordinator is not ready:\n{self.log}")
        with self.client() as client:
            client.environments()  # waits until plugins are imported

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def address(self) -> str:
        """Its gRPC address."""
        return f"unix:{self.data_dir.resolve() / 'api.sock'}"

    def client(self) -> SyncClient:
        """Return a client of it; close it after use."""
        return SyncClient(self.address)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self, seconds: float = _STOP_SECONDS) -> int:
        """Wait for its end, and return its exit code."""
        code = self._process.wait(seconds)
        self._close()
        return code

    def stop(self) -> None:
        """Stop it and all it has started, without waiting for running tasks. Idempotent."""
        if self._process.poll() is None:
            try:
                with self.client() as client:
                    client.drain(drain_seconds=0, grace_seconds=0)
                self._process.wait(_STOP_SECONDS)
            except (HundredfoldError, subprocess.TimeoutExpired):
                self._process.kill()
        self.wait()

    def _read_log(self) -> None:
        assert self._process.stderr  # noqa: S101  # it is a pipe
        for line in self._process.stderr:
            self.log += line
            if READY in line:
                self._ready.set()
        self._ready.set()

    def _close(self) -> None:
        # A host that outlives its coordinator keeps the pipe open: what it says from here on is lost.
        self._reader.join(0.5)
        if self._process.stderr and not self._reader.is_alive():
            self._process.stderr.close()


@contextmanager
def running_coordinator(
    data_dir: Path, *, plugins: Sequence[Path] = (), arguments: Sequence[str] = ()
) -> Iterator[CoordinatorProcess]:
    """Run a coordinator while the block runs."""
    options = [text for plugin in plugins for text in ("--plugin", str(plugin))]
    process = CoordinatorProcess(data_dir, [*options, *arguments])
    try:
        yield process
    finally:
        process.stop()


def eventually(check: Callable[[], object], *, seconds: float = 10.0, what: str = "it") -> None:
    """Wait until `check()` is true.

    Raises:
        AssertionError: it was not, in time.

    """
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {seconds:g} s")
        time.sleep(0.02)
