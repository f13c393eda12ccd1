"""The command line, run as a process of its own against one data directory."""

import os
import subprocess
import sys
from pathlib import Path

HUNDREDFOLD = [sys.executable, "-m", "hundredfold_coordinator"]
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
