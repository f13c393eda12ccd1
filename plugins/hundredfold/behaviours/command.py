"""The command behaviour: any program becomes an agent.

The program gets the task's input as JSON on its standard input and answers with JSON on its standard output. Its
standard error is the attempt's. Another exit code than 0 is a failure that quotes the end of what it wrote there.
"""

import json
import os
import subprocess
import sys
import threading
from typing import IO, Any, Final

from hundredfold.behaviour import Behaviour

_TAIL: Final = 2000
_CHUNK: Final = 64 * 1024


class CommandFailed(Exception):  # it is what a task reports as the kind of its failure
    """A configured program did not do its work."""


def command(name: str, argv: list[str]) -> Behaviour[[Any], Any]:
    """Return a behaviour called `name` that runs the program `argv`."""

    def run(input: Any) -> Any:  # noqa: A002  # the name under which it appears in errors
        return _run(argv, json.dumps(input).encode())

    run.__doc__ = f"Run the program {argv[0]}."
    return Behaviour(run, name=name)


def _run(argv: list[str], data: bytes) -> Any:
    try:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        message = f"cannot start {argv[0]}: {error.strerror}"
        raise CommandFailed(message) from error
    assert process.stdin and process.stdout and process.stderr  # noqa: S101, PT018  # all three are pipes
    tail = _Tail(process.stderr)
    try:
        output = _exchange(process, data)
        code = process.wait()
    except BaseException:
        process.terminate()  # a cancelled task takes its program along
        process.wait()
        raise
    finally:
        process.stdout.close()  # not stderr: a child of the program may hold it, and the thread that reads it closes it
    return _result(argv[0], code, output, tail.text())


def _exchange(process: "subprocess.Popen[bytes]", data: bytes) -> bytes:
    assert process.stdin and process.stdout  # noqa: S101, PT018
    stdin = process.stdin

    def feed() -> None:
        try:
            with stdin:
                stdin.write(data)
        except BrokenPipeError:
            pass  # a program need not read its input

    # A program may answer before it has read everything: one thread writes while this one reads.
    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    output = process.stdout.read()
    feeder.join()
    return output


def _result(program: str, code: int, output: bytes, errors: str) -> Any:
    if code != 0:
        how = f"exited with code {code}" if code > 0 else f"was ended by signal {-code}"
        message = f"{program} {how}" + (f"; it wrote: {errors}" if errors else "")
        raise CommandFailed(message)
    try:
        return json.loads(output)
    except ValueError as error:
        message = f"{program} did not answer with JSON ({error}); it wrote: {output[:_TAIL].decode(errors='replace')!r}"
        raise CommandFailed(message) from error


class _Tail(threading.Thread):
    """Passes a program's standard error on and keeps its end."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._kept = b""
        self.start()

    def run(self) -> None:
        with self._stream:
            while chunk := os.read(self._stream.fileno(), _CHUNK):
                sys.stderr.buffer.write(chunk)
                sys.stderr.buffer.flush()
                self._kept = (self._kept + chunk)[-_TAIL:]

    def text(self) -> str:
        """Return the end of what was written, once the program has closed the stream."""
        self.join(timeout=1)
        return self._kept.decode(errors="replace").strip()
