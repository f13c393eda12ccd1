"""A batch: one call of `hundredfold run`, as anyone would type it, and what came of it.

See also: `hundredfold run --help`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

COMMAND: Final = Path(sys.executable).with_name("hundredfold")
PLUGIN: Final = Path(__file__).with_name("agents.py")

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Batch:
    """What came of a batch.

    Attributes:
        exit_code: of the command.
        rows: one for each line of input, in their order; empty after an interruption.
        file: where the rows are.

    """

    exit_code: int
    seconds: float
    rows: list[dict[str, Any]]
    file: Path

    @property
    def results(self) -> list[dict[str, Any]]:
        """What the agents returned that succeeded."""
        return [row["result"] for row in self.rows if row["state"] == "SUCCEEDED"]


@final
class Runner:
    """Runs batches on one data directory, and passes Ctrl-C on to the one that runs.

    Attributes:
        interrupted: whether there was a Ctrl-C; from then on nothing is started.

    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._folder = data_dir / "results"
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.mkdir(exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None
        self.interrupted = False
        for number in _SIGNALS:
            signal.signal(number, self._interrupt)

    def run(self, behaviour: str, inputs: Sequence[dict[str, str]], announcement: str) -> Batch:
        """Run one agent for each input, all at once; on stderr, announce it and show its progress."""
        if not self.interrupted:
            print(announcement, file=sys.stderr, flush=True)
        lines, output = self._folder / f"{behaviour}-inputs.jsonl", self._folder / f"{behaviour}.jsonl"
        lines.write_text("".join(json.dumps(value) + "\n" for value in inputs))
        output.unlink(missing_ok=True)
        began = time.monotonic()
        code = self._wait([
            *(str(COMMAND), "run", behaviour),
            *("--plugin", str(PLUGIN), "--data-dir", str(self._data_dir)),
            *("--input", str(lines), "--output", str(output)),
            *("--session", "module:{module}", "--concurrency", str(len(inputs)), "--fresh"),
        ])  # fmt: skip
        complete = output.exists() and not self.interrupted
        rows = [json.loads(line) for line in output.read_text().splitlines()] if complete else []
        return Batch(code, time.monotonic() - began, rows, output)

    def _wait(self, argv: list[str]) -> int:
        if self.interrupted:
            return 128 + signal.SIGINT
        # A process group of its own: the terminal would send it Ctrl-C too, and it takes a second one for impatience.
        self._process = subprocess.Popen(argv, env=_environment(), process_group=0)
        if self.interrupted:
            self._process.send_signal(signal.SIGINT)
        return self._process.wait()

    def _interrupt(self, _number: int, _frame: object) -> None:
        self.interrupted = True
        if self._process:
            self._process.send_signal(signal.SIGINT)


def _environment() -> dict[str, str]:
    """Return the environment without the user's own settings of Hundredfold, which may lead elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("HUNDREDFOLD_")}
