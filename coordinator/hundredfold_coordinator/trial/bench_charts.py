"""The pictures of a bench: what agents and queued tasks cost, the more of them there are, and where that ends."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hundredfold_coordinator.trial.bench_report import BAR
from hundredfold_coordinator.trial.bench_rows import KINDS
from hundredfold_coordinator.trial.charts import COLOURS, FAINT, INK, LOST, WAITING, WIDTH, style
from hundredfold_coordinator.trial.rows import figure as figure_of

_ALL, _COORDINATOR, _HOST = COLOURS["fresh"], COLOURS["pool"], COLOURS["stateful"]
_MIB: Final = 2**20

Report = Mapping[str, Any]


def draw(report: Report) -> dict[str, Figure]:
    """Return the pictures of a bench, by name."""
    with style():
        figures = {"crowd": _crowd(report), "cpu": _cpu(report), "idle": _idle(report)}
        if report["limits"]:
            figures["limits"] = _limits(report)
        return {**figures, "queue": _backlog(report)}


def _crowd(report: Report) -> Figure:
    figure = Figure(figsize=(WIDTH, 3.9), layout="constrained")
    when, memory = figure.subplots(1, 2)
    _points(when, report, "until_running_s", _ALL)
    _points(memory, report, "memory_bytes", _ALL, _MIB)
    _line(when, report, "until_running_s", _ALL)
    _line(memory, report, "memory_bytes", _ALL, _MIB)
    when.set(title="seconds until all run", xlabel="agents at once")
    memory.set(title="MiB more than before", xlabel="agents at once")
    for axis in (when, memory):
        if any(len(line.get_xdata()) for line in axis.lines):
            axis.set(xscale="log", yscale="log")  # of nothing there is no logarithm, and it would not draw
        _plain(axis, "xy")
    return figure


def _cpu(report: Report) -> Figure:
    figure = Figure(figsize=(WIDTH, 3.3), layout="constrained")
    axis = figure.subplots()
    _points(axis, report, "start_cpu_each_s", _ALL, 1e-3, label="whole machine", joined=True)
    _points(axis, report, "coordinator_cpu_each_s", _COORDINATOR, 1e-3, label="coordinator", joined=True)
    axis.set(xlabel="agents at once", ylabel="ms for each agent", xscale="log", ylim=(0, None))
    _plain(axis, "x")
    axis.legend(loc="upper right")
    return figure


def _idle(report: Report) -> Figure:
    figure = Figure(figsize=(WIDTH, 3.3), layout="constrained")
    axis = figure.subplots()
    for role, colour in (("coordinator", _COORDINATOR), ("host", _HOST)):
        _points(axis, report, f"idle_cores.{role}", colour, 0.01, label=role)
        _line(axis, report, f"{role}_cores", colour, 0.01)
    axis.set(xlabel="agents that wait", ylabel="% of a core", xscale="log", ylim=(0, None))
    _plain(axis, "x")
    axis.legend(loc="upper left")
    return figure


def _limits(report: Report) -> Figure:
    """A bar for each kind of limit, on one logarithmic scale; what was reached in fact is drawn across them."""
    kinds = sorted(report["limits"], key=lambda kind: report["limits"][kind]["agents"])
    figure = Figure(figsize=(WIDTH, 0.9 + 0.55 * len(kinds)), layout="constrained")
    axis = figure.subplots()
    for row, kind in enumerate(kinds):
        count = max(1, report["limits"][kind]["agents"])
        axis.barh(row, count, color=LOST if row == 0 else WAITING, height=0.62)
        axis.annotate(f"{count:,}", (count, row), (5, 0), textcoords="offset points", va="center", color=INK)
    measured = report["limit"]["measured"]
    axis.axvline(measured, color=FAINT, linestyle="--", linewidth=1.2)
    axis.annotate(
        f"measured: {measured:,}", (measured, -0.62), (-5, 0), textcoords="offset points", ha="right", color=FAINT
    )
    axis.set_yticks(range(len(kinds)), [KINDS[kind].name for kind in kinds])
    axis.set_ylim(len(kinds) - 0.4, -0.95)
    axis.set(xlabel="agents at once", xscale="log", xlim=(1, 10 * max(1, report["limits"][kinds[-1]]["agents"])))
    axis.grid(visible=False, axis="y")
    _plain(axis, "x")
    return figure


def _backlog(report: Report) -> Figure:
    figure = Figure(figsize=(WIDTH, 3.3), layout="constrained")
    axis = figure.subplots()
    counts = [int(count) for count in report["queue"]]
    found = list(report["queue"].values())
    axis.plot(counts, [one["cpu_s"] * 1e3 for one in found], color=_COORDINATOR, marker="o")
    lows, highs = ([one["cpu_range_s"][end] * 1e3 for one in found] for end in (0, 1))
    axis.fill_between(counts, lows, highs, color=_COORDINATOR, alpha=0.15, lw=0)
    few = report["queue"][str(report["growth"]["few"])]["cpu_s"] * 1e3
    axis.axhline(few * BAR, color=FAINT, linestyle="--", linewidth=1.2)
    axis.annotate(f"{BAR} times", (counts[0], few * BAR), va="bottom", color=FAINT)
    axis.set(xlabel="queued tasks", ylabel="ms for each other task", xscale="log", ylim=(0, None))
    _plain(axis, "x")
    return figure


def _points(
    axis: Axes, report: Report, key: str, colour: str, unit: float = 1.0, label: str = "", *, joined: bool = False
) -> None:
    found = [(one["running"], figure_of(one, key) / unit) for one in report["agents"].values()]
    shown = [point for point in found if point[1] > 0]  # the others have no place on a logarithmic scale
    axis.plot(*_columns(shown), color=colour, marker="o", linestyle="-" if joined else "none", label=label or None)


def _line(axis: Axes, report: Report, name: str, colour: str, unit: float = 1.0) -> None:
    """The line that all measurements together say."""
    if name not in report["costs"]:
        return
    cost = report["costs"][name]
    counts = [max(1, one["running"]) for one in report["agents"].values()]
    first, last = min(counts), max(counts)
    steps = [first * (last / first) ** (step / 60) for step in range(61)]
    found = [(step, (cost["base"] + cost["each"] * step) / unit) for step in steps]
    # Where its base is more than half of it and below nothing, it says nothing.
    shown = [(step, value) for step, value in found if value > cost["each"] * step / unit / 2]
    axis.plot(*_columns(shown), color=colour, linewidth=1.2, alpha=0.6)


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _plain(axis: Axes, directions: str) -> None:
    """Write numbers instead of powers of ten."""
    for direction in directions:
        own = axis.xaxis if direction == "x" else axis.yaxis
        own.set_major_formatter("{x:,.10g}")
        own.set_minor_formatter("")
