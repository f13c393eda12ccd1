"""`hundredfold logs`."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

import click
from hundredfold import Client
from hundredfold.v1 import attempt_pb2, task_pb2

from hundredfold_coordinator.cli import options, output

_QUIET_SECONDS: Final = 0.3


@click.command("logs")
@click.argument("task_id", metavar="TASK")
@options.client_options
@click.option("-f", "--follow", is_flag=True, help="Go on until the task has ended.")
@options.asynchronous
async def command(*, task_id: str, follow: bool, **where: Any) -> None:
    """Print what the newest attempt of TASK wrote: its stdout to stdout, its stderr to stderr.

    The end of each stream is kept, 16 KiB; what was dropped before it is said on stderr.
    """
    async with Client(**options.target(where)) as client:
        task = await client.get(task_id)
        if task.attempts and task.attempts[-1].HasField("receipt"):
            _print_tails(task.attempts[-1].receipt)
        elif follow or task.state == task_pb2.TASK_STATE_RUNNING:
            await _print_live(client, task_id, follow=follow)


def _print_tails(receipt: attempt_pb2.Receipt) -> None:
    if receipt.dropped_bytes:
        output.note(f"[{output.size(receipt.dropped_bytes)} before this were not kept]")
    _write(task_pb2.OUTPUT_STREAM_STDOUT, receipt.stdout_tail)
    _write(task_pb2.OUTPUT_STREAM_STDERR, receipt.stderr_tail)


async def _print_live(client: Client, task_id: str, *, follow: bool) -> None:
    seen = False
    async for event in _events(client, task_id, None if follow else _QUIET_SECONDS):
        if event.HasField("output"):
            seen = True
            if event.output.dropped_bytes:
                output.note(f"[{output.size(event.output.dropped_bytes)} before this were dropped]")
            _write(event.output.stream, event.output.data)
        elif event.HasField("state_change") and event.state_change.state not in _BEFORE_OUTPUT and not seen:
            task = await client.get(task_id)
            _print_tails(task.attempts[-1].receipt)


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
