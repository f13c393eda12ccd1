"""The rows of the table of a comparison: what a person reads first, on the terminal and on the page."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from hundredfold.wording import counted, size

_ROUND: Final = 0.9995
"""From here on, of three figures, a number is as good as the next power of ten."""


class Row(NamedTuple):
    """One row.

    Attributes:
        key: where its figure stands among those of a strategy, with dots.
        name: what it is called.
        about: what it means, in one sentence.
        show: how a figure is written.

    """

    key: str
    name: str
    about: str
    show: Callable[[Any], str]


def seconds(value: Any) -> str:
    """Write a time: three figures are enough."""
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < _ROUND else f"{number(float(value)).replace(',', '')} s"


def _memory(value: Any) -> str:
    return size(int(value))


def number(value: Any) -> str:
    """Write a number: three figures are enough for what is no count."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"  # noqa: PLR2004


ROWS: Final = (
    Row("makespan_s", "makespan", "From the first submission to the last end; the median of the runs.", seconds),
    Row("tasks_per_s", "tasks/s", "Tasks with a result, for each second of the makespan.", number),
    Row(
        "latency_s.p50", "latency p50", "From its submission to its end, for half of the tasks with a result.", seconds
    ),
    Row("latency_s.p90", "latency p90", "The same for nine of ten.", seconds),
    Row("latency_s.p99", "latency p99", "The same for 99 of a hundred.", seconds),
    Row("waiting_s.p50", "waiting p50", "Of that, how long nobody worked on it.", seconds),
    Row("running_s.p50", "running p50", "Of that, how long an attempt ran.", seconds),
    Row("peak_memory_bytes", "peak memory", "Most memory of the machine, less what was used before.", _memory),
    Row("memory_gib_s", "memory x time", "Memory by time, in GiB seconds.", number),
    Row(
        "peak_cores",
        "peak CPUs",
        "Most at once, over a tenth of a second, less what all else did on average.",
        number,
    ),
    Row("cpu_s", "CPU time", "Of the coordinator, its hosts and all agents.", seconds),
    Row("lost", "tasks lost", "Tasks that ended without a result, all runs together.", number),
    Row("lost_to_own_fault", "to their own fault", "Those into which a fault was injected that had begun.", number),
    Row("taken_along", "taken along", "Those whose process died of another task while they waited for it.", number),
    Row("failed_by_itself", "by themselves", "The others: their own failure, with nothing injected.", number),
    Row(
        "innocents_affected",
        "innocents affected",
        "With nothing injected into them, but taken along, or in need of another attempt through no failure of theirs.",
        number,
    ),
    Row(
        "innocents_late",
        "innocents late",
        "With a result, but after more than twice the time of the slowest of them under fresh: they had to wait.",
        number,
    ),
    Row("contaminated", "contaminated", "Tasks that found another one's trace in their process.", number),
    Row("sessions_lost", "sessions lost", "Sessions that died with the memory of a process.", number),
    Row("outputs_compared", "outputs compared", "Results of tasks that an earlier run has had a result of.", number),
    Row("outputs_differ", "other outputs", "Those of them that are not the same as in the first such run.", number),
)


def figure(figures: Mapping[str, Any], key: str) -> Any:
    """Return the figure that a key names; None if there is none."""
    value: Any = figures
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def cell(figures: Mapping[str, Any], row: Row) -> str:
    """Return a figure as it is shown: with a star if it is better for what was lost, see `shortened`."""
    value = figure(figures, row.key)
    if value is None:
        return "-"
    return f"{row.show(value)} *" if row.key == "makespan_s" and figures["lost_more"] else row.show(value)


def shortened(report: Mapping[str, Any]) -> str:
    """Return what a star at a makespan means; empty if there is none."""
    if not any(one["figures"]["lost_more"] for one in report["strategies"].values()):
        return ""
    return "* over sooner for losing tasks that others have results of"


def headline(report: Mapping[str, Any]) -> str:
    """Return what a comparison shows, in one sentence: no strategy is the best that lost more than another."""
    figures = {name: one["figures"] for name, one in report["strategies"].items()}
    rates = {name: one["tasks_per_s"] for name, one in figures.items()}
    best = max((name for name in figures if not figures[name]["lost_more"]), key=rates.__getitem__)
    worst = min(rates, key=rates.__getitem__)
    said = f"{counted(report['about']['tasks'], 'task')}: {best} had {number(rates[best])} results a second"
    if rates[best] == rates[worst]:
        return f"{said}, and lost the fewest" if any(one["lost_more"] for one in figures.values()) else said
    if not rates[worst]:
        return f"{said}, {worst} none"
    return f"{said}, {number(rates[best] / rates[worst])} times as many as {worst}"


def losses(report: Mapping[str, Any]) -> str:
    """Return in one sentence who lost tasks to the faults of others; empty if nobody did."""
    lost = {name: one["figures"]["taken_along"] for name, one in report["strategies"].items()}
    if not any(lost.values()):
        return ""
    return f"Lost to the faults of others: {', '.join(f'{name} {count}' for name, count in lost.items())}"
