"""The progress of a run, on stderr: a live bar on a terminal, a line now and then elsewhere."""

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final, Protocol

import click
from hundredfold import Client, wording
from hundredfold.errors import HundredfoldError
from hundredfold.v1 import task_pb2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from hundredfold_coordinator.cli.batch import Summary

_POLL_SECONDS: Final = 0.25
_LINE_SECONDS: Final = 2.0


class _Display(Protocol):
    def show(self, summary: Summary, text: str) -> None:
        """Show how far the run is."""


class Observed:
    """What was seen of a run from outside: the most memory that agents used, in bytes."""

    peak_bytes: int = 0


@asynccontextmanager
async def observing(client: Client, title: str, summary: Summary) -> Any:
    """Show a run's progress while the block runs; yields what is observed."""
    observed = Observed()
    with _display(title, summary.total) as display:
        watcher = asyncio.ensure_future(_watch(client, summary, observed, display))
        try:
            yield observed
        finally:
            watcher.cancel()
            with suppress(asyncio.CancelledError):
                await watcher
            display.show(summary, _describe(summary, 0, 0))


async def _watch(client: Client, summary: Summary, observed: Observed, display: _Display) -> None:
    while True:
        running, memory = await _look(client)
        observed.peak_bytes = max(observed.peak_bytes, memory)
        display.show(summary, _describe(summary, running, memory))
        await asyncio.sleep(_POLL_SECONDS)


async def _look(client: Client) -> tuple[int, int]:
    """Return how many agents run, and the memory of all workers."""
    try:
        status = await client.status()
    except HundredfoldError:
        return 0, 0  # the run itself says what is wrong
    running = sum(count.count for count in status.task_counts if count.state == task_pb2.TASK_STATE_RUNNING)
    return running, sum(host.machine.workers_pss_bytes for host in status.hosts)


def _describe(summary: Summary, running: int, memory: int) -> str:
    parts = [f"{running} running", f"{summary.succeeded} succeeded"]
    parts += [f"{count} {name}" for name, count in _bad_ends(summary) if count]
    parts += [wording.size(memory)] if memory else []
    parts += (
        ["cancelling, Ctrl-C again to leave at once"] if summary.interrupted and summary.done < summary.total else []
    )
    return ", ".join(parts)


def _bad_ends(summary: Summary) -> tuple[tuple[str, int], ...]:
    return ("failed", summary.failed), ("cancelled", summary.cancelled), ("refused", summary.refused)


@contextmanager
def _display(title: str, total: int) -> Iterator[_Display]:
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Bar(*columns, TextColumn("{task.fields[text]}"), console=Console(stderr=True)) as bar:
            yield _Live(bar, title, total)
    else:
        yield _Lines(title, total)


class _Live:
    """A bar that moves."""

    def __init__(self, bar: Bar, title: str, total: int) -> None:
        self._bar = bar
        self._id = bar.add_task(title, total=total, text="")

    def show(self, summary: Summary, text: str) -> None:
        """See `_Display`."""
        self._bar.update(self._id, completed=summary.done, text=text)


class _Lines:
    """A line at the beginning, at the end, and every two seconds in between."""

    def __init__(self, title: str, total: int) -> None:
        self._title = title
        self._total = total
        self._last = ("", 0.0)

    def show(self, summary: Summary, text: str) -> None:
        """See `_Display`."""
        line = f"{self._title}: {summary.done}/{self._total}  {text}"
        known, moment = self._last
        due = time.monotonic() - moment > _LINE_SECONDS or summary.done == self._total
        if line != known and due:
            click.echo(line, err=True)
            self._last = line, time.monotonic()
