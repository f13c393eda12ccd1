"""The pictures of a comparison, drawn by matplotlib: SVG with colours that the page decides, or files for elsewhere."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, FAINT, LINE, PAPER = "#1b1f24", "#6b7280", "#d7dbe0", "#fefefe"
COLOURS: Final[Mapping[str, str]] = {
    "fresh": "#0e9f8e",
    "pool": "#3b74d9",
    "stateful": "#d98a1e",
    "sequential": "#c2486f",
}
"""Of each strategy; they can be told apart by those who do not see all colours."""
WAITING, _FAULTY, LOST, _ALONE = "#c9ced6", "#8a5bd0", "#d7263d", "#7a8699"
_NAMES: Final[Mapping[str, str]] = {
    INK: "ink",
    FAINT: "faint",
    LINE: "line",
    PAPER: "paper",
    **{colour: name for name, colour in COLOURS.items()},
    WAITING: "waiting",
    _FAULTY: "faulty",
    LOST: "lost",
    _ALONE: "alone",
}
"""What the page calls each colour, which has one for light and one for dark."""

_CAUSES: Final = (
    ("lost_to_own_fault", "a fault of their own", _FAULTY),
    ("taken_along", "taken along by another", LOST),
    ("failed_by_itself", "failed by themselves", _ALONE),
)
"""Of losses: what figures call each, what people do, and its colour."""

_LEAST_SECONDS: Final = 1e-3
"""Less has no place on a logarithmic scale."""

_STYLE: Final = Path(__file__).with_name("page.mplstyle")
WIDTH: Final = 9.0
"""Of every picture, in inches."""

Report = Mapping[str, Any]


def draw(report: Report) -> dict[str, Figure]:
    """Return the pictures of a comparison, by name."""
    with style():
        return {
            "timeline": _timeline(report, shared=True),
            "timeline_each": _timeline(report, shared=False),
            "latency": _latency(report),
            "throughput": _throughput(report),
            "use": _use(report),
            "faults": _faults(report),
        }


def as_svg(figure: Figure) -> str:
    """Return a picture to be put into a page, with the page's colours."""
    text = io.StringIO()
    with style():
        figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    svg = text.getvalue()[text.getvalue().index("<svg") :]
    svg = re.sub(
        r'(<svg[^>]*?) height="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1), count=1
    )
    for colour, name in _NAMES.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg


def save(figures: Mapping[str, Figure], directory: Path) -> list[Path]:
    """Write every picture as SVG and PNG; return the files."""
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    with style():
        for name, figure in figures.items():
            for kind in ("svg", "png"):
                files.append(directory / f"{name}.{kind}")
                figure.savefig(files[-1], dpi=160, bbox_inches="tight", facecolor=PAPER)
    return files


@contextmanager
def style() -> Iterator[None]:
    """Draw as pages want it while the block runs."""
    with mpl.rc_context(fname=_STYLE):
        yield


def _first_runs(report: Report) -> list[Mapping[str, Any]]:
    return [run for run in report["runs"] if run["repeat"] == 1]


def _colour(strategy: str) -> str:
    return COLOURS.get(strategy, INK)


def _timeline(report: Report, *, shared: bool) -> Figure:
    """Every task a line: thin while it waits, thick while an attempt runs."""
    runs = _first_runs(report)
    rows = max(len(run["tasks"]) for run in runs)
    figure = Figure(figsize=(WIDTH, len(runs) * min(2.4, 0.9 + rows / 60)), layout="constrained")
    axes = figure.subplots(len(runs), 1, sharex=shared, squeeze=False)[:, 0]
    longest = max(run["makespan_s"] for run in runs)
    for axis, run in zip(axes, runs, strict=True):
        _lanes(axis, run)
        axis.set_title(_title(run), color=_colour(run["strategy"]))
        axis.set_ylim(len(run["tasks"]) - 0.4, -0.6)
        axis.set_xlim(0, (longest if shared else run["makespan_s"]) * 1.02)
        axis.set_yticks([])
        axis.grid(visible=False, axis="y")
    axes[-1].set_xlabel("seconds since the first submission; each line is a task")
    return figure


def _title(run: Mapping[str, Any]) -> str:
    lost = sum(task["state"] != "SUCCEEDED" for task in run["tasks"])
    said = f"{run['strategy']}  ·  {run['makespan_s']:.3g} s"
    return f"{said}  ·  {lost} of {len(run['tasks'])} tasks lost" if lost else said


def _lanes(axis: Axes, run: Mapping[str, Any]) -> None:
    """Draw the lines of a run, all of a kind in one go: one by one they take a second for every hundred."""
    height = max(1.0, 130 / max(1, len(run["tasks"])))
    tasks = list(enumerate(sorted(run["tasks"], key=_by_start)))
    tries = [
        (row, one, _shade(run, task, one, number)) for row, task in tasks for number, one in enumerate(task["tries"])
    ]
    submitted, ended = zip(*((task["submitted_s"], task["ended_s"]) for _, task in tasks), strict=True)
    axis.hlines(range(len(tasks)), submitted, ended, color=WAITING, linewidth=height * 0.3)
    axis.hlines(
        [row for row, _, _ in tries],
        [one["began_s"] for _, one, _ in tries],
        [one["ended_s"] for _, one, _ in tries],
        colors=[shade for _, _, shade in tries],
        linewidth=height * 0.8,
    )
    crosses = [(task["ended_s"], row) for row, task in tasks if task["state"] != "SUCCEEDED"]
    look = {"marker": "x", "linestyle": "", "color": LOST, "markersize": 4, "markeredgewidth": 1.2}
    axis.plot([at for at, _ in crosses], [row for _, row in crosses], **look)  # type: ignore[arg-type]  # any mixture


def _by_start(task: Mapping[str, Any]) -> float:
    begun: float = min((one["began_s"] for one in task["tries"]), default=task["ended_s"])
    return begun


def _shade(run: Mapping[str, Any], task: Mapping[str, Any], one: Mapping[str, Any], number: int) -> str:
    if task["fault"] and not number:  # it is the first attempt that is made to suffer, whatever comes of it
        return _FAULTY
    return _colour(run["strategy"]) if one["outcome"] == "COMPLETED" else LOST


def _legend(figure: Figure, axis: Axes) -> None:
    """Say what is what above a picture, where it hides nothing, from the left, where a phone shows it at once."""
    handles, names = axis.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=len(names))


def _values(tasks: Sequence[Mapping[str, Any]], values: Sequence[float]) -> list[float]:
    """Return those of the tasks that have a result, in their order."""
    return sorted(value for task, value in zip(tasks, values, strict=True) if task["state"] == "SUCCEEDED")


def _curve(axis: Axes, strategy: str, moments: Sequence[float], heights: Sequence[float], end: float) -> None:
    """Draw how results came, until everything had ended: what stays below the top was lost, and has a cross there."""
    colour, last = _colour(strategy), heights[len(moments) - 1] if moments else 0
    axis.step([*moments, end], [*heights[: len(moments)], last], where="post", color=colour, label=strategy)
    look = {"marker": "o", "markersize": 6} if last == heights[-1] else {"marker": "x", "markersize": 9}
    axis.plot(end, last, color=colour, markeredgewidth=2.4, clip_on=False, **look)  # type: ignore[arg-type]  # a mixture


def _latency(report: Report) -> Figure:
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axis = figure.subplots()
    for strategy in report["strategies"]:
        tasks = [task for run in report["runs"] if run["strategy"] == strategy for task in run["tasks"]]
        latencies = [max(task["ended_s"] - task["submitted_s"], _LEAST_SECONDS) for task in tasks]
        shares = [(number + 1) / len(tasks) * 100 for number in range(len(tasks))]
        _curve(axis, strategy, _values(tasks, latencies), shares, max(latencies))
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.xaxis.set_minor_formatter(lambda value, _: f"{value:.1g}" if f"{value:.0e}"[0] in "25" else "")
    axis.set(xlabel="seconds from submission to end", ylabel="% of all tasks with a result", ylim=(0, 101))
    _legend(figure, axis)
    return figure


def _throughput(report: Report) -> Figure:
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    axis = figure.subplots()
    for run in _first_runs(report):
        ends = _values(run["tasks"], [task["ended_s"] for task in run["tasks"]])
        _curve(axis, run["strategy"], [0.0, *ends], range(len(run["tasks"]) + 1), run["makespan_s"])
    axis.set(xlabel="seconds since the first submission", ylabel="tasks with a result", ylim=(0, None))
    axis.set_xlim(left=0)
    _legend(figure, axis)
    return figure


def _use(report: Report) -> Figure:
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    memory, cores = figure.subplots(2, 1, sharex=True)
    for run in _first_runs(report):
        moments = [sample[0] for sample in run["samples"]]
        colour, name = _colour(run["strategy"]), run["strategy"]
        memory.fill_between(moments, [sample[1] / 2**20 for sample in run["samples"]], color=colour, alpha=0.12, lw=0)
        memory.plot(moments, [sample[1] / 2**20 for sample in run["samples"]], color=colour, label=name)
        cores.plot(moments, [sample[2] for sample in run["samples"]], color=colour, label=name, linewidth=1.4)
    memory.set(title="memory", ylabel="MiB more than before", ylim=(0, None))
    cores.set(title="CPUs", ylabel="busy with it", xlabel="seconds since the first submission", ylim=(0, None))
    cores.set_xlim(left=0)
    _legend(figure, memory)
    return figure


def _faults(report: Report) -> Figure:
    """For every strategy, why tasks have no result: a fault of their own, that of another one, or neither."""
    strategies: Sequence[str] = list(report["strategies"])
    figure = Figure(figsize=(WIDTH, 0.9 + 0.62 * len(strategies)), layout="constrained")
    axis = figure.subplots()
    left = [0] * len(strategies)
    for key, name, colour in _CAUSES:
        counts = [report["strategies"][strategy]["figures"][key] for strategy in strategies]
        axis.barh(range(len(strategies)), counts, left=left, color=colour, height=0.62, label=name)
        left = [before + count for before, count in zip(left, counts, strict=True)]
    for row, total in enumerate(left):
        axis.annotate(str(total), (total, row), xytext=(4, 0), textcoords="offset points", va="center", color=INK)
    axis.set_yticks(range(len(strategies)), strategies)
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    axis.set(xlabel="tasks without a result, all runs together")
    axis.set_xlim(0, max(1, *left) * 1.05)
    _legend(figure, axis)
    return figure
