"""`hundredfold compare`."""

import importlib.util
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource
from hundredfold import Client, Submission
from hundredfold.client.submission import STRATEGIES
from hundredfold.errors import InvalidArgument, InvalidSetting
from hundredfold.injection import choose, parse_shares

from hundredfold_coordinator.cli import options, output
from hundredfold_coordinator.cli.batch import fill
from hundredfold_coordinator.cli.embedded import embedded_coordinator
from hundredfold_coordinator.cli.injection_options import check_hang, injection_options, may_last
from hundredfold_coordinator.cli.lines import read_lines
from hundredfold_coordinator.cli.options import setting
from hundredfold_coordinator.cli.policy_options import policy_options, take_policy
from hundredfold_coordinator.cli.repetition import repetition
from hundredfold_coordinator.cli.scratch import apart, scratch
from hundredfold_coordinator.cli.serve import check_plugins, environment_options
from hundredfold_coordinator.cli.stages import Stages, showing_stages
from hundredfold_coordinator.cli.targets import check_directory, check_file
from hundredfold_coordinator.trial.contest import Contest, hold
from hundredfold_coordinator.trial.report import comparison
from hundredfold_coordinator.trial.rows import ROWS, cell, headline, losses, shortened

_BUSY_CORES: Final = 0.3
_FIGURES: Final = ".json"
_POINTLESS: Final = {
    "strategy": ("strategy", "--strategy means nothing here: --strategies says what is compared"),
    "delay_seconds": (
        "not_before",
        "--delay-seconds means nothing here: all tasks of a run wait for nothing but each other",
    ),
}
"""Options that are for other commands: which field of a submission they set, and what to say of them."""


@click.command("compare")
@click.argument("behaviour")
@environment_options
@click.option(
    "-i", "--input", "input_file", type=click.File("rb"), required=True, help="JSON lines, one task each; - for stdin."
)
@setting(
    "--strategies",
    default=",".join(STRATEGIES),
    show_default=True,
    metavar="NAME,...",
    help="What to run the tasks under, in this order.",
)
@setting("--repeat", type=click.IntRange(1, 100), default=3, show_default=True, help="Runs of each strategy.")
@setting(
    "--agents",
    type=click.IntRange(1, 1000),
    default=8,
    show_default=True,
    help="Workers of `pool`, and agents of `stateful`.",
)
@setting("--concurrency", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Most agents at once.")
@click.option(
    "--session", default="", metavar="TEXT", help="Session of each task; {field} stands for a field of its input."
)
@injection_options
@policy_options
@setting(
    "--page",
    "page_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default="hundredfold-compare.html",
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
async def command(*, input_file: Any, output_format: str, **given: Any) -> None:
    """Run BEHAVIOUR on every line of a file under several strategies, and show what each of them costs.

    Each run has a coordinator and a store of its own, on this machine, which nothing else should keep busy meanwhile.
    The tasks are the same each time, and so are those that a fault is injected into. Ends with the path of a page with
    tables and pictures, which needs no network.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise InvalidSetting(
            "page", "needs matplotlib, which is missing: `pip install 'hundredfold[report]'` brings it"
        )
    values = list(read_lines(input_file))
    plan = _plan(values, getattr(input_file, "name", "-"), given)
    _check_targets(given["page_path"], given["charts_path"], plan.about["input"])
    if plan.may_hang:
        async with plan.start() as client:
            await check_hang(client, given["behaviour"])
    with showing_stages(given["behaviour"], len(values), len(plan.contest.strategies) * plan.contest.repeat) as stages:
        runs = [run async for run in hold(plan.contest, plan.start, _Told(stages))]
    report = comparison(runs, plan.about)
    _show(report, output_format)  # whatever comes of the files
    try:
        path = _write(report, given["page_path"], given["charts_path"])
    except OSError as error:
        raise InvalidSetting("page", f"could not be written: {error}") from error
    output.note(f"page: {path.absolute()}")


@dataclass(frozen=True, slots=True)
class _Plan:
    contest: Contest
    about: dict[str, Any]
    arguments: list[str]
    concurrency: int
    may_hang: bool

    @asynccontextmanager
    async def start(self) -> AsyncIterator[Client]:
        with scratch("compare") as directory:
            data_dir = Path(directory) / "data"
            arguments = [*self.arguments, *apart(data_dir)]
            async with (
                Client(data_dir=data_dir) as client,
                embedded_coordinator(client, data_dir, self.concurrency, arguments) as embedded,
            ):
                await _show_broken(client)
                yield client
                embedded.hurry = True  # long-lived agents would not end by themselves


async def _show_broken(client: Client) -> None:
    """Say what is wrong with a plugin: when the error tells of it, nobody can be asked any more."""
    for environment in await client.environments():
        for plugin in environment.plugins:
            if plugin.traceback:
                output.note(plugin.traceback)


def _plan(values: Sequence[Any], input_name: object, given: dict[str, Any]) -> _Plan:
    """Return what is to be done, with everything that is wrong with it said before anything begins."""
    if not values:
        raise InvalidArgument("input", "has no line, and no task can be compared")
    strategies = _strategies(given["strategies"])
    shares = parse_shares(given["inject"])
    inject, seed = given["inject"], given["seed"]
    may_hang = may_last(shares, given["wall_limit_seconds"])
    policy = _policy(given)
    behaviour, session = given["behaviour"], given["session"]
    submissions = [
        Submission(behaviour, value, session=fill(session, value, index), **policy)
        for index, value in enumerate(values)
    ]
    contest = Contest(submissions, strategies, given["repeat"], choose(shares, len(values), seed))
    about = {
        "behaviour": behaviour,
        "input": str(input_name),
        "tasks": len(values),
        "repeat": given["repeat"],
        "inject": inject,
        "seed": seed,
        "notes": {
            "workers": f"{given['agents']} in a pool or stateful; at most {given['concurrency']} fresh ones at once"
        },
    }
    arguments = ["--pool-size", str(given["agents"])]
    for path in check_plugins(given["plugin_files"]):
        arguments += ["--plugin", str(path)]
    for text in given["commands"]:
        arguments += ["--command", text]
    return _Plan(contest, {**about, **repetition(arguments)}, arguments, given["concurrency"], may_hang)


def _policy(given: dict[str, Any]) -> dict[str, Any]:
    """Return what all tasks have in common; what has no meaning here may be set for other commands only."""
    policy, ctx = take_policy(given), click.get_current_context()
    for option, (field, said) in _POINTLESS.items():
        if policy.pop(field, None) and ctx.get_parameter_source(option) is ParameterSource.COMMANDLINE:
            raise click.UsageError(said, ctx)
    return policy


def _check_targets(page: Path, charts: Path | None, input_name: str) -> None:
    """Find out what cannot be written before anything has taken its time."""
    if page.suffix == _FIGURES:
        raise InvalidSetting("page", f"is {page}, where its figures would go: call it otherwise, {page.stem}.html")
    for path in (page, page.with_suffix(_FIGURES)):
        check_file("page", path, input_name)
    if charts:
        check_directory("charts", charts)


def _strategies(text: str) -> list[str]:
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in STRATEGIES:
            raise InvalidArgument("strategies", f"has {name!r}, which is none; there are: {', '.join(STRATEGIES)}")
    if not names:
        raise InvalidArgument("strategies", f"names none; there are: {', '.join(STRATEGIES)}")
    return names


class _Told:
    """Passes on to a person how far a contest is."""

    def __init__(self, stages: Stages) -> None:
        self._stages = stages

    def begin(self, strategy: str, repeat: int) -> None:
        self._stages.begin(f"{strategy}, run {repeat}")

    def done(self, tasks: int) -> None:
        self._stages.done(tasks)


def _write(report: dict[str, Any], path: Path, charts_path: Path | None) -> Path:
    from hundredfold_coordinator.trial import charts, page

    figures = charts.draw(report)
    pictures = {name: charts.as_svg(one) for name, one in figures.items()}
    # A file name that is no text is written as JSON has it.
    for target, text in (
        (path, page.comparison_page(report, pictures)),
        (path.with_suffix(_FIGURES), json.dumps(report, ensure_ascii=False) + "\n"),
    ):
        target.write_text(text, encoding="utf-8", errors="backslashreplace")
    if charts_path:
        charts.save(figures, charts_path)
    return path


def _show(report: dict[str, Any], output_format: str) -> None:
    if output_format == "json":
        output.write_json(report)
        return
    names = list(report["strategies"])
    figures = {name: report["strategies"][name]["figures"] for name in names}
    output.write_table(["", *names], [(row.name, *(cell(figures[name], row) for name in names)) for row in ROWS])
    for said in filter(None, (shortened(report), headline(report), losses(report))):
        output.note(said)
    if report["others_cores"] > _BUSY_CORES:
        output.note(
            f"something else kept {report['others_cores']:.1f} CPUs busy meanwhile: run it again when it is quiet"
        )
