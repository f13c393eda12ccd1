"""`hundredfold bench`."""

import importlib.util
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

import click
from hundredfold import Client
from hundredfold.errors import HundredfoldError, InvalidSetting

from hundredfold_coordinator.cli import options, output
from hundredfold_coordinator.cli.embedded import embedded_coordinator
from hundredfold_coordinator.cli.options import setting
from hundredfold_coordinator.cli.repetition import repetition
from hundredfold_coordinator.cli.scratch import apart, scratch
from hundredfold_coordinator.cli.stages import showing_stages
from hundredfold_coordinator.trial import bench
from hundredfold_coordinator.trial.bench_report import bench as report_of
from hundredfold_coordinator.trial.bench_rows import AGENTS, QUEUE, growth, guess, headline
from hundredfold_coordinator.trial.rows import cell

_BUSY_CORES: Final = 0.3
_OWN: Final = ("--hosts", "1")
_AGENTS: Final = "agents.py"


@click.command("bench")
@setting("--most", type=click.IntRange(1, 100_000), default=2000, show_default=True, help="Most agents at once.")
@setting("--queued", type=click.IntRange(10, 1_000_000), default=100_000, show_default=True, help="Most queued tasks.")
@setting(
    "--page",
    "page_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default="hundredfold-bench.html",
    show_default=True,
    help="Page to write; the same figures go into a .json file beside it.",
)
@setting(
    "--charts",
    "charts_path",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory to write each picture to, as SVG and PNG.",
)
@options.output_format
@options.asynchronous
async def command(*, most: int, queued: int, page_path: Path, charts_path: Path | None, output_format: str) -> None:
    """Show how many agents this machine holds at once, what limits that, and what each of them costs.

    Starts more and more agents that do nothing but wait, up to the number that is wanted or that the machine takes.
    Then more and more tasks are queued that may not start, and others run beside them. Every measurement has a
    coordinator and a store of its own, and nothing else should keep the machine busy meanwhile. Ends with the path of a
    page with tables and pictures, which needs no network.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise InvalidSetting(
            "page", "needs matplotlib, which is missing: `pip install 'hundredfold[report]'` brings it"
        )
    wanted = bench.sizes(most, queued)
    about = repetition([*_OWN, "--plugin", _AGENTS])
    with scratch("bench") as directory, showing_stages("bench", 1, wanted.stages) as stages:
        crowds, backlogs = await bench.measure(wanted, _Starter(Path(directory)), Path(directory), stages.begin)
    report = report_of(crowds, backlogs, about)
    _write(report, page_path, charts_path)
    _show(report, output_format)
    output.note(f"page: {page_path.absolute()}")


class _Starter:
    """Starts coordinators, each with a directory of its own below one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0

    @asynccontextmanager
    async def __call__(self, concurrency: int, *arguments: str) -> AsyncIterator[Client]:
        """Run one while the block runs; what it still runs is ended with it, however the block ends."""
        self._count += 1
        data_dir = self._directory / str(self._count)
        with as_file(files("hundredfold_coordinator.trial").joinpath(_AGENTS)) as plugin:
            own = [*_OWN, "--plugin", str(plugin), *apart(data_dir)]
            async with (
                Client(data_dir=data_dir) as client,
                embedded_coordinator(client, data_dir, concurrency, [*own, *arguments]),
            ):
                try:
                    yield client
                finally:
                    with suppress(HundredfoldError):  # it has ended already
                        await client.drain(drain_seconds=0, grace_seconds=0)


def _write(report: dict[str, Any], path: Path, charts_path: Path | None) -> None:
    from hundredfold_coordinator.trial import bench_charts, charts
    from hundredfold_coordinator.trial.bench_page import bench_page

    figures = bench_charts.draw(report)
    path.write_text(bench_page(report, {name: charts.as_svg(one) for name, one in figures.items()}))
    path.with_suffix(".json").write_text(json.dumps(report, ensure_ascii=False) + "\n")
    if charts_path:
        charts.save(figures, charts_path)


def _show(report: dict[str, Any], output_format: str) -> None:
    if output_format == "json":
        output.write_json(report)
        return
    for first, rows, found in (("agents", AGENTS, report["agents"]), ("queued", QUEUE, report["queue"])):
        lines = [(count, *(cell(values, row) for row in rows)) for count, values in found.items()]
        output.write_table([first, *(row.name for row in rows)], lines)
        click.echo()
    for said in filter(None, (headline(report), guess(report), growth(report))):
        output.note(said)
    if report["others_cores"] > _BUSY_CORES:
        output.note(
            f"something else kept {report['others_cores']:.1f} CPUs busy meanwhile: run it again when it is quiet"
        )
