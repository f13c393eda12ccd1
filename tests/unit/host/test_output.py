"""Shows what is kept of an attempt's output, who is told, and that no writer holds anybody up; with real pipes."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
from hundredfold.v1 import task_pb2
from hundredfold_host.output import TAIL_LIMIT, OutputPipe

CAPACITY = 64 * 1024


class Writer:
    """The other end of a pipe."""

    def __init__(self, pipe: OutputPipe) -> None:
        self.descriptor = os.dup(pipe.writer)
        os.set_blocking(self.descriptor, False)
        os.close(pipe.writer)  # as a host does after the fork
        self.open = True

    def put(self, data: bytes) -> int:
        """Write as much as the pipe takes."""
        try:
            return os.write(self.descriptor, data)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        if self.open:
            self.open = False
            os.close(self.descriptor)


async def settle() -> None:
    """Have the loop read what is there."""
    for _ in range(5):
        await asyncio.sleep(0)


async def put_all(writer: Writer, data: bytes) -> None:
    """Write all of it, while the loop reads."""
    while data:
        data = data[writer.put(data) :]
        await settle()


@pytest.fixture
async def pipe() -> AsyncIterator[OutputPipe]:
    pipe = OutputPipe(task_pb2.OUTPUT_STREAM_STDERR)
    yield pipe
    pipe.close()


@pytest.fixture
async def writer(pipe: OutputPipe) -> AsyncIterator[Writer]:
    writer = Writer(pipe)
    yield writer
    writer.close()


# Keeping --------------------------------------------------------------------------------------------------------------


async def test_what_is_written_is_kept(pipe: OutputPipe, writer: Writer) -> None:
    writer.put(b"hello ")
    await settle()
    writer.put(b"world")
    await settle()
    assert (pipe.tail, pipe.total) == (b"hello world", 11)


async def test_only_the_end_is_kept(pipe: OutputPipe, writer: Writer) -> None:
    data = bytes(range(256)) * 200
    await put_all(writer, data)
    assert pipe.total == len(data)
    assert pipe.tail == data[-TAIL_LIMIT:]


async def test_nothing_is_read_after_the_end(pipe: OutputPipe, writer: Writer) -> None:
    writer.put(b"last words")
    writer.close()
    await settle()
    assert pipe.tail == b"last words"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(pipe._reader)


# Following ------------------------------------------------------------------------------------------------------------


async def test_who_follows_gets_what_is_kept_and_then_what_comes(pipe: OutputPipe, writer: Writer) -> None:
    told: list[task_pb2.Output] = []
    writer.put(b"before")
    await settle()
    pipe.follow(told.append)
    writer.put(b"after")
    await settle()
    assert [(one.data, one.dropped_bytes) for one in told] == [(b"before", 0), (b"after", 0)]
    assert {one.stream for one in told} == {task_pb2.OUTPUT_STREAM_STDERR}


async def test_who_follows_late_is_told_how_much_is_gone(pipe: OutputPipe, writer: Writer) -> None:
    told: list[task_pb2.Output] = []
    await put_all(writer, bytes(TAIL_LIMIT + 100))
    pipe.follow(told.append)
    assert [(len(one.data), one.dropped_bytes) for one in told] == [(TAIL_LIMIT, 100)]


async def test_there_is_nothing_to_tell_before_the_first_byte(pipe: OutputPipe, writer: Writer) -> None:
    told: list[task_pb2.Output] = []
    pipe.follow(told.append)
    assert told == []
    writer.put(b"x")
    await settle()
    assert [one.data for one in told] == [b"x"]


async def test_who_stops_following_gets_nothing_more(pipe: OutputPipe, writer: Writer) -> None:
    told: list[task_pb2.Output] = []
    pipe.follow(told.append)
    pipe.follow(None)
    writer.put(b"more")
    await settle()
    assert told == []
    assert pipe.tail == b"more"


# Closing --------------------------------------------------------------------------------------------------------------


async def test_closing_takes_what_is_in_the_pipe(pipe: OutputPipe, writer: Writer) -> None:
    told: list[task_pb2.Output] = []
    pipe.follow(told.append)
    written = writer.put(b"x" * CAPACITY)
    pipe.close()
    assert (pipe.total, sum(len(one.data) for one in told)) == (written, written)


async def test_closing_does_not_wait_for_whoever_keeps_the_pipe_open(pipe: OutputPipe, writer: Writer) -> None:
    writer.put(b"x")
    pipe.close()
    pipe.close()
    assert pipe.tail == b"x"
    with pytest.raises(BrokenPipeError):
        writer.put(b"too late")


async def test_closing_does_not_wait_for_whoever_writes_without_end(
    pipe: OutputPipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.close(pipe.writer)
    reads = 0

    def endless(_descriptor: int, size: int) -> bytes:
        nonlocal reads
        reads += 1
        assert reads < 100, "still reading"
        return bytes(size)

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", endless)
        pipe.close()


# Bursts ---------------------------------------------------------------------------------------------------------------


async def test_who_writes_too_fast_has_to_wait(pipe: OutputPipe, writer: Writer) -> None:
    written = 0
    for _ in range(100):
        written += writer.put(bytes(CAPACITY))
        await settle()
    assert written > pipe.total, "the pipe is full, and its writer waits"
    assert (1 << 20) < pipe.total <= (1 << 20) + CAPACITY
    before = pipe.total
    pipe._resume()
    await settle()
    assert pipe.total > before


async def test_a_pipe_can_be_closed_while_its_writer_waits(pipe: OutputPipe, writer: Writer) -> None:
    written = 0
    for _ in range(30):
        written += writer.put(bytes(CAPACITY))
        await settle()
    pipe.close()
    assert pipe.total == written
    pipe._resume()
    await settle()
