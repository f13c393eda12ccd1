"""The tables of a bench: what a person reads first, on the terminal and on the page."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from hundredfold.wording import size

from hundredfold_coordinator.trial.bench_report import BAR, FEW, MANY
from hundredfold_coordinator.trial.rows import Row, number, seconds


def _bytes(value: Any) -> str:
    return f"-{size(int(-value))}" if value < 0 else size(int(value))


def _milliseconds(value: Any) -> str:
    return f"{value * 1000:.3g} ms"


def _percent(value: Any) -> str:
    return f"{value * 100:.2g} %"


def _millionths(value: Any) -> str:
    return f"{value * 1e6:.3g} millionths of a core"


class Kind(NamedTuple):
    """What a kind of limit is called; how all there is, and what an agent takes of it, is written."""

    name: str
    verb: str
    most: Callable[[Any], str]
    each: Callable[[Any], str]


class Cost(NamedTuple):
    """What a cost is called, and how it is written."""

    name: str
    show: Callable[[Any], str]


AGENTS: Final = (
    Row("running", "running", "How many came to run, and wait.", number),
    Row("until_running_s", "all run after", "From the first submission until the last of them began.", seconds),
    Row("started_per_s", "started/s", "Agents for each of these seconds.", number),
    Row("until_ended_s", "all end after", "From their release until the last of them had ended.", seconds),
    Row("memory_each_bytes", "memory each", "Of the machine, less what was used before.", _bytes),
    Row("start_cpu_each_s", "CPU to start", "Of the machine, for each agent.", _milliseconds),
    Row("coordinator_cpu_each_s", "of it coordinator", "The coordinator's share of it.", _milliseconds),
    Row("idle_cores.coordinator", "coordinator idle", "Of a core, while all agents wait.", _percent),
    Row("idle_cores.host", "host idle", "Of a core, while all agents wait.", _percent),
)

QUEUE: Final = (
    Row("cpu_s", "CPU a task", "Of the coordinator; all rounds together.", _milliseconds),
    Row("tasks_per_s", "tasks/s", "Done beside them, all in one batch.", number),
    Row("submitted_per_s", "submitted/s", "How fast they came to be there.", number),
    Row("pss_bytes", "coordinator memory", "Its proportional set size.", _bytes),
)

COSTS: Final[Mapping[str, Cost]] = {
    "memory_bytes": Cost("memory", _bytes),
    "start_cpu_s": Cost("CPU time to start", _milliseconds),
    "coordinator_cpu_s": Cost("of it the coordinator's", _milliseconds),
    "coordinator_cores": Cost("coordinator, while it waits", _millionths),
    "host_cores": Cost("host, while it waits", _millionths),
    "coordinator_descriptors": Cost("descriptors of the coordinator", number),
    "host_descriptors": Cost("descriptors of the host", number),
    "threads": Cost("processes", number),
}
"""What one more agent costs, as the lines through all measurements say."""

KINDS: Final[Mapping[str, Kind]] = {
    "memory": Kind("memory", "is", _bytes, _bytes),
    "cpu": Kind("CPU", "is", lambda value: f"{value:g} core", _millionths),
    "descriptors": Kind("open files", "are", number, number),
    "processes": Kind("processes", "are", number, number),
}
"""Limits, by the names that reports have for them."""


def headline(report: Mapping[str, Any]) -> str:
    """Return what a machine holds, and what the limit is, in one sentence."""
    limit = report["limit"]
    if limit["met"]:
        return f"This machine holds {limit['agents']:,} such agents at once; {_held(limit['by'])}"
    if limit["agents"] is None:
        return f"This machine holds {limit['measured']:,} such agents at once, and nothing was seen to end that"
    kind, count = KINDS[limit["by"]], max(_about(limit["agents"]), limit["measured"])
    return f"This machine holds about {count:,} such agents at once; {kind.name} {kind.verb} the limit"


def guess(report: Mapping[str, Any]) -> str:
    """Return how sure that is, or why there are no more, in one sentence."""
    limit = report["limit"]
    if limit["met"]:
        return f"One of those waited because {limit['why']}." if limit["why"] else ""
    if limit["agents"] is None:
        return ""
    return f"Measured with up to {limit['measured']:,}; beyond that it is a straight line drawn on."


def growth(report: Mapping[str, Any]) -> str:
    """Return how much more a task costs the coordinator when many are queued, in a sentence; empty if nobody knows."""
    found = report["growth"]
    if found["few"] == found["many"]:
        return ""
    said = f"A task costs the coordinator {found['ratio']:.2f} times as much beside {found['many']:,} queued ones"
    said += f" as beside {found['few']:,}"
    if (found["few"], found["many"]) == (FEW, MANY):
        said += f" (up to {BAR} times is what is aimed at)"
    each = found["memory_each_bytes"]
    return f"{said}." if each is None or each < 0 else f"{said}; each of these takes {size(int(each))} of its memory."


def _held(gate: str) -> str:
    return f"{gate} held the others" if gate else "the others did not come to run"


def _about(count: int) -> int:
    """Return two figures of a number: it is no better known."""
    return int(float(f"{count:.2g}"))
