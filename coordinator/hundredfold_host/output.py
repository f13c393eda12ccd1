"""What an attempt writes: read without end, kept at its tail, passed on to whoever follows.

Reading never depends on anybody else, so an agent that writes a gigabyte slows only itself down, and a child that
keeps the pipe open after the worker's end holds nobody up.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Final

from hundredfold.v1 import task_pb2

TAIL_LIMIT: Final = 16 * 1024
"""How much of the end of a stream is kept, in bytes."""

_CHUNK: Final = 64 * 1024
_BURST: Final = 1024 * 1024
_PAUSE_SECONDS: Final = 0.1

Sink = Callable[[task_pb2.Output], None]


class OutputPipe:
    """The reading end of one stream of one attempt.

    Attributes:
        tail: the end of what was written, at most `TAIL_LIMIT` bytes.
        total: bytes written so far.

    """

    def __init__(self, stream: task_pb2.OutputStream.ValueType) -> None:
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._reader, self.writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._reader, False)
        self._open = True
        self._burst = 0
        self._sink: Sink | None = None
        self.tail = b""
        self.total = 0
        self._loop.add_reader(self._reader, self._read)

    def follow(self, sink: Sink | None) -> None:
        """Pass on what is kept, then everything that comes; stop with None."""
        self._sink = sink
        if sink and self.total:
            dropped = self.total - len(self.tail)
            sink(task_pb2.Output(stream=self._stream, data=self.tail, dropped_bytes=dropped))

    def close(self) -> None:
        """Take what is in the pipe now, and end; a pipe holds no more than this takes."""
        end = self.total + _BURST
        while self._open and self.total < end and self._read_chunk():
            pass
        self._stop()

    def _read(self) -> None:
        self._burst += self._read_chunk()
        if self._burst > _BURST and self._open:
            # An agent that writes faster than 10 MiB/s waits for its pipe, not the other agents for their host.
            self._loop.remove_reader(self._reader)
            self._loop.call_later(_PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        self._burst = 0
        if self._open:
            self._loop.add_reader(self._reader, self._read)

    def _read_chunk(self) -> int:
        try:
            data = os.read(self._reader, _CHUNK)
        except BlockingIOError:
            return 0
        if not data:
            self._stop()
            return 0
        self.total += len(data)
        self.tail = (self.tail + data)[-TAIL_LIMIT:]
        if self._sink:
            self._sink(task_pb2.Output(stream=self._stream, data=data))
        return len(data)

    def _stop(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._reader)
            os.close(self._reader)
