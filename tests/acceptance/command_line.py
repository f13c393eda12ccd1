"""The command line, run as a process of its own against one data directory."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

HUNDREDFOLD = [sys.executable, "-m", "hundredfold_coordinator"]
INTERRUPTED = 130
AGENTS = Path(__file__).parents[1] / "integration" / "agents.py"


class Cli:
    """Runs commands against one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.directory = data_dir.parent
        self.environment = {**os.environ, "HUNDREDFOLD_DATA_DIR": str(data_dir)}
        self.environment.pop("XDG_RUNTIME_DIR", None)

    def __call__(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*HUNDREDFOLD, *arguments],
            cwd=self.directory,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*HUNDREDFOLD, *arguments],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def on_a_terminal(self, *arguments: str, until: Callable[[str], bool], seconds: float = 30) -> str:
        """Return what a person sees, up to the moment when they have seen enough and press Ctrl-C."""
        ours, theirs = pty.openpty()
        shown, end = "", time.monotonic() + seconds
        with subprocess.Popen(
            [*HUNDREDFOLD, *arguments],
            cwd=self.directory,
            env=self.environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        ) as process:
            os.close(theirs)
            while not until(shown) and time.monotonic() < end:
                if select.select([ours], [], [], 0.1)[0]:
                    shown += os.read(ours, 65536).decode(errors="replace")
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == INTERRUPTED, shown
        os.close(ours)
        return shown
