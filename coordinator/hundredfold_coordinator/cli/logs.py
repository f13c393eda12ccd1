"""`hundredfold logs`."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Final

import click
from hundredfold import Client
from hundredfold.v1 import attempt_pb2, task_pb2

from hundredfold_coordinator.cli import options, output

_QUIET_SECONDS: Final = 0.3
_Write = Callable[[task_pb2.OutputStream.ValueType, bytes], None]


@click.command("logs")
@click.argument("task_id", metavar="TASK")
@options.client_options
@options.output_format
@click.option("-f", "--follow", is_flag=True, help="Go on until the task has ended.")
@options.asynchronous
async def command(*, task_id: str, output_format: str, follow: bool, **where: Any) -> None:
    """Print what the newest attempt of TASK wrote: its stdout to stdout, its stderr to stderr.

    The end of each stream is kept, 16 KiB; what was dropped before it is said on stderr. As JSON, all of it goes to
    stdout, each piece with its stream.
    """
    write = _write_json if output_format == "json" else _write
    async with Client(**options.target(where)) as client:
        task = await client.get(task_id)
        if task.attempts and task.attempts[-1].HasField("receipt"):
            _print_tails(task.attempts[-1].receipt, write)
        elif follow or task.state == task_pb2.TASK_STATE_RUNNING:
            await _print_live(client, task_id, write, follow=follow)


def _print_tails(receipt: attempt_pb2.Receipt, write: _Write) -> None:
    if receipt.dropped_bytes:
        output.note(f"[{output.size(receipt.dropped_bytes)} before this were not kept]")
    write(task_pb2.OUTPUT_STREAM_STDOUT, receipt.stdout_tail)
    write(task_pb2.OUTPUT_STREAM_STDERR, receipt.stderr_tail)


async def _print_live(client: Client, task_id: str, write: _Write, *, follow: bool) -> None:
    seen = False
    async for event in _events(client, task_id, None if follow else _QUIET_SECONDS):
        if event.HasField("output"):
            seen = True
            if event.output.dropped_bytes:
                output.note(f"[{output.size(event.output.dropped_bytes)} before this were dropped]")
            write(event.output.stream, event.output.data)
        elif event.HasField("state_change") and event.state_change.state not in _BEFORE_OUTPUT and not seen:
            task = await client.get(task_id)
            _print_tails(task.attempts[-1].receipt, write)


async def _events(client: Client, task_id: str, quiet_seconds: float | None) -> AsyncIterator[task_pb2.Event]:
    """Yield the events of a task until it has ended, or until nothing has come for a while."""
    events = client.watch(task_id, include_output=True)
    with suppress(StopAsyncIteration, TimeoutError):
        while True:
            yield await asyncio.wait_for(anext(events), quiet_seconds)


_BEFORE_OUTPUT = (task_pb2.TASK_STATE_QUEUED, task_pb2.TASK_STATE_LAUNCHING, task_pb2.TASK_STATE_RUNNING)


def _write(stream: task_pb2.OutputStream.ValueType, data: bytes) -> None:
    target = sys.stdout if stream == task_pb2.OUTPUT_STREAM_STDOUT else sys.stderr
    target.buffer.write(data)
    target.flush()


def _write_json(stream: task_pb2.OutputStream.ValueType, data: bytes) -> None:
    if data:
        name = task_pb2.OutputStream.Name(stream).removeprefix("OUTPUT_STREAM_").lower()
        output.write_json({"stream": name, "data": data.decode(errors="replace")})
        sys.stdout.flush()
