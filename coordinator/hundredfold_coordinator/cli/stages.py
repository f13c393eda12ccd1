"""The progress of something that has several stages, on stderr: a live bar on a terminal, a line for each elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Stages:
    """What is told of each stage: its name when it begins, and how much of it is done."""

    def __init__(self, title: str, stages: int) -> None:
        self._title = title
        self._stages = stages
        self._number = 0

    def begin(self, name: str) -> None:
        """Begin the next stage."""
        self._number += 1
        click.echo(f"{self._title}: {name} ({self._number} of {self._stages})", err=True)

    def done(self, count: int) -> None:
        """So much of it is done."""


class _Live(Stages):
    def __init__(self, title: str, stages: int, bar: Progress, each: int) -> None:
        super().__init__(title, stages)
        self._bar = bar
        self._each = each
        self._all: TaskID = bar.add_task(title, total=stages * each)

    def begin(self, name: str) -> None:
        self._number += 1
        self._bar.update(self._all, description=f"{self._title}: {name} ({self._number} of {self._stages})")
        self.done(0)

    def done(self, count: int) -> None:
        self._bar.update(self._all, completed=(self._number - 1) * self._each + count)


@contextmanager
def showing_stages(title: str, each: int, stages: int) -> Iterator[Stages]:
    """Show the progress of so many stages, each with so much to do, while the block runs."""
    if not sys.stderr.isatty():
        yield Stages(title, stages)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield _Live(title, stages, bar, each)
