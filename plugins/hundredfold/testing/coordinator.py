"""A real coordinator for tests: started on a directory of its own, stopped with everything it had started.

Plugin authors use it to run their behaviours as users will; Hundredfold's own integration tests use nothing else.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hundredfold.client import SyncClient
from hundredfold.errors import HundredfoldError

READY: Final = "hundredfold serves at"
PROGRAM: Final = (sys.executable, "-m", "hundredfold_coordinator")
_START_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.01
_STOP_SECONDS: Final = 30.0


class CoordinatorProcess:
    """A coordinator that runs as a child process on `data_dir`; `arguments` are those of `hundredfold serve`.

    Args:
        program: what is run instead of the `hundredfold` command of this Python.
        wait: whether to wait until it serves and its plugins are imported.

    Raises:
        AssertionError: it does not get ready; the message is its log.

    """

    def __init__(
        self, data_dir: Path, arguments: Sequence[str] = (), *, program: Sequence[str] = PROGRAM, wait: bool = True
    ) -> None:
        self.data_dir = data_dir
        # A file, not a pipe: a host that outlives its coordinator goes on writing to it.
        self._log = os.memfd_create("log")
        self._last_words = ""
        # Without XDG_RUNTIME_DIR the sockets lie in the data directory, and go with it.
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("HUNDREDFOLD_", "XDG_"))}
        environment["HUNDREDFOLD_BALLAST_BYTES"] = "0"  # the directories of many tests would take gigabytes
        self._process = subprocess.Popen(
            [*program, "serve", "--data-dir", str(data_dir), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            env=environment,
        )
        if wait and not self._becomes_ready():
            self._process.kill()
            self.wait()
            raise AssertionError(f"the coordinator is not ready:\n{self.log}")

    def _becomes_ready(self) -> bool:
        deadline = time.monotonic() + _START_SECONDS
        while READY not in self.log:
            if self._process.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_SECONDS)
        try:
            with self.client() as client:
                client.environments()  # waits until plugins are imported
        except HundredfoldError:  # it has died just now
            return False
        return True

    @property
    def log(self) -> str:
        """What it has written to its standard error."""
        if self._log < 0:
            return self._last_words
        return os.pread(self._log, os.fstat(self._log).st_size, 0).decode(errors="replace")

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
        if self._log >= 0:
            self._last_words = self.log
            os.close(self._log)
            self._log = -1
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
