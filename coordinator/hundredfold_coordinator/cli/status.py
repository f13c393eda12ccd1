"""`hundredfold status`."""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import click
from hundredfold import Client
from hundredfold.errors import Unreachable
from hundredfold.v1 import coordinator_service_pb2 as pb

from hundredfold_coordinator.cli import options, output
from hundredfold_coordinator.cli.overview import line, overview

_WATCH_SECONDS: Final = 1.0
_PICTURED_SECONDS: Final = 60
_PATIENCE_SECONDS: Final = 5


class _Look(NamedTuple):
    status: pb.GetStatusResponse
    samples: Sequence[pb.Sample]


_Show = Callable[[_Look, float], None]
"""Shows what was seen, and for how many seconds nothing was seen since then; 0 if it is new."""


@click.command("status")
@click.option("--watch", is_flag=True, help="Go on until Ctrl-C, once a second, also while no coordinator answers.")
@options.client_options
@options.output_format
@options.asynchronous
async def command(*, watch: bool, output_format: str, **where: Any) -> None:
    """Show what the coordinator is doing. Ended tasks are counted since its start."""
    pictured = watch and output_format == "table" and sys.stdout.isatty()
    async with Client(**options.target(where)) as client:
        if watch:
            await _watch(client, _redraw if pictured else _Stream(output_format).show, pictured=pictured)
        elif output_format == "json":
            output.write_json(output.as_dict(await client.status()))
        else:
            click.echo("\n".join(overview(await client.status())))


async def _watch(client: Client, show: _Show, *, pictured: bool) -> None:
    """Show a look a second. Who watches most wants to know while the coordinator is away: agents outlive it."""
    look = await _look(client, pictured=pictured)  # that none answers at first is an error as without --watch
    seen = time.monotonic()
    away = 0.0
    while True:
        show(look, away)
        sys.stdout.flush()
        await asyncio.sleep(_WATCH_SECONDS)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                look = await _look(client, pictured=pictured)
            seen, away = time.monotonic(), 0.0
        except (Unreachable, TimeoutError):
            away = time.monotonic() - seen


async def _look(client: Client, *, pictured: bool) -> _Look:
    status = await client.status()
    return _Look(status, await client.samples(after_seconds=time.time() - _PICTURED_SECONDS) if pictured else ())


def _redraw(look: _Look, away: float) -> None:
    """Fill the terminal anew; what is not true any more is grey."""
    click.clear()
    shown = list(overview(*look))
    if away:
        click.echo("\n".join([*_now(), f"no coordinator for {away:.0f} s; what was seen last:"]))
        shown = [click.style(one, dim=True) for one in shown]
    else:
        shown = [*_now(), *shown]
    click.echo("\n".join(shown))


class _Stream:
    """Writes one look after the other; says once on stderr that there is none, and once that there is again."""

    def __init__(self, output_format: str) -> None:
        self._json = output_format == "json"
        self._shown = False
        self._told = False

    def show(self, look: _Look, away: float) -> None:
        """See `_Show`."""
        if away:
            if not self._told:
                output.note("no coordinator answers any more; trying again until Ctrl-C")
            self._told = True
            return
        if self._told:
            output.note("a coordinator answers again")
        self._told = False
        if self._json:
            output.write_json(output.as_dict(look.status))
        else:
            click.echo("\n".join([*[""] * self._shown, *_now(), *overview(*look)]))
        self._shown = True


def _now() -> list[str]:
    return list(line("now", time.strftime("%Y-%m-%d %H:%M:%S")))
