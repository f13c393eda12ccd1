"""The lines of a run: reading inputs, writing results in the order of the inputs."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from hundredfold.errors import HundredfoldError, InvalidArgument, InvalidSetting
from hundredfold.v1 import task_pb2

from hundredfold_coordinator.cli import output


def open_results(path: str, input_name: str) -> IO[str]:
    """Open the file that results go to, which replaces what is there; `-` is stdout.

    Raises:
        InvalidSetting: it cannot be written, or it is the file with the input.

    """
    if path == "-":
        return open(sys.stdout.fileno(), "w", closefd=False)  # so that closing it leaves stdout open
    try:
        if Path(input_name).exists() and Path(path).exists() and Path(path).samefile(input_name):
            raise InvalidSetting("output", f"is {path}, which is the input, too")
        return Path(path).open("w")
    except OSError as error:
        raise InvalidSetting("output", f"is {path}: {error.strerror}") from error


def read_lines(file: IO[bytes]) -> Iterator[Any]:
    """Yield the JSON value of each line that is not blank.

    Raises:
        InvalidArgument: names the line that is not JSON.

    """
    for number, line in enumerate(file, start=1):
        if line.strip():
            try:
                yield json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InvalidArgument(f"line {number} of the input", f"is not JSON: {error}") from error


def result_row(task: task_pb2.Task) -> dict[str, Any]:
    """Return what is written for a task that has ended."""
    row: dict[str, Any] = {"task": task.id, "state": output.state_name(task.state)}
    if task.state == task_pb2.TASK_STATE_SUCCEEDED:
        return row | {"result": output.payload_value(task.result)}
    failure = {"type": task.failure.type, "message": task.failure.message}
    return row | {"failure": failure | ({"field": task.failure.field} if task.failure.field else {})}


def refused_row(error: HundredfoldError) -> dict[str, Any]:
    """Return what is written for a line that was not accepted."""
    return {"state": "REFUSED", "error": {"reason": error.reason, "message": str(error)} | error.figures()}


class OrderedWriter:
    """Writes one JSON line per input line, in their order, as soon as all before it are there."""

    def __init__(self, target: IO[str]) -> None:
        self._target = target
        self._rows: dict[int, dict[str, Any]] = {}
        self._next = 0

    def put(self, index: int, row: dict[str, Any]) -> None:
        """Take the result of line `index`, from 0."""
        self._rows[index] = row
        while self._next in self._rows:
            text = json.dumps({"index": self._next, **self._rows.pop(self._next)}, ensure_ascii=False)
            self._target.write(text + "\n")
            self._target.flush()
            self._next += 1
