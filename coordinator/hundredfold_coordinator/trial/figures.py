"""Figures of a comparison: what the runs of each strategy show together. Pure."""

import math
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from hundredfold_coordinator.trial.outcome import PROCESS_ENDS, Run, TaskOutcome

_SHARES: Final = {"p50": 0.50, "p90": 0.90, "p99": 0.99}
_GIB: Final = 1 << 30
_PROCESS: Final = re.compile(r"process (\d+)")
_KEEPING: Final = frozenset({"stateful", "sequential"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What all runs of one strategy show: counts are sums over them, times and amounts medians of them.

    Attributes:
        runs: how many there were.
        tasks: how many tasks they had together.
        makespan_s: from the first submission to the last end.
        makespan_range_s: the shortest and the longest.
        tasks_per_s: tasks with a result, for each second of the makespan.
        latency_s, waiting_s, running_s: percentiles, by nearest rank, over all tasks with a result: from the submission
            to the end, without and with an attempt at work.
        peak_memory_bytes: most memory of the machine, less what was used before.
        memory_gib_s: memory by time, in GiB seconds.
        peak_cores: most CPUs at once, over a tenth of a second.
        cpu_s: CPU time.
        succeeded: tasks with a result.
        lost: tasks without one.
        lost_by: those, by how they ended.
        innocents: tasks that no fault was injected into.
        innocents_lost: those of them without a result.
        innocents_affected: those of them without a result, or with more than one attempt.
        contaminated: tasks that found another one's trace in their process.
        sessions_lost: sessions whose content was in the memory of a process that died.
        outputs_differ: tasks with another result than in the first run of all.

    """

    runs: int
    tasks: int
    makespan_s: float
    makespan_range_s: tuple[float, float]
    tasks_per_s: float
    latency_s: Mapping[str, float]
    waiting_s: Mapping[str, float]
    running_s: Mapping[str, float]
    peak_memory_bytes: int
    memory_gib_s: float
    peak_cores: float
    cpu_s: float
    succeeded: int
    lost: int
    lost_by: Mapping[str, int]
    innocents: int
    innocents_lost: int
    innocents_affected: int
    contaminated: int
    sessions_lost: int
    outputs_differ: int

    def as_dict(self) -> dict[str, Any]:
        """Return them as JSON has them."""
        return {name: _rounded(value) for name, value in asdict(self).items()}


def figures_of(runs: Sequence[Run], reference: Run) -> Figures:
    """Return what the runs of one strategy show; outputs are compared with those of `reference`."""
    tasks = [task for run in runs for task in run.tasks]
    innocents = [task for task in tasks if not task.fault]
    spans = [run.makespan_s for run in runs]
    return Figures(
        runs=len(runs),
        tasks=len(tasks),
        makespan_s=statistics.median(spans),
        makespan_range_s=(min(spans), max(spans)),
        tasks_per_s=statistics.median(map(_tasks_per_s, runs)),
        latency_s=percentiles(task.latency_s for task in tasks if task.succeeded),
        waiting_s=percentiles(task.waiting_s for task in tasks if task.succeeded),
        running_s=percentiles(task.running_s for task in tasks if task.succeeded),
        peak_memory_bytes=int(statistics.median(map(_peak_memory, runs))),
        memory_gib_s=statistics.median(map(_memory_gib_s, runs)),
        peak_cores=statistics.median(max((one.cores for one in run.samples), default=0.0) for run in runs),
        cpu_s=statistics.median(run.cpu_s for run in runs),
        succeeded=sum(task.succeeded for task in tasks),
        lost=sum(not task.succeeded for task in tasks),
        lost_by=dict(Counter(task.failure or task.state for task in tasks if not task.succeeded).most_common()),
        innocents=len(innocents),
        innocents_lost=sum(not task.succeeded for task in innocents),
        innocents_affected=sum(not task.succeeded or len(task.tries) > 1 for task in innocents),
        contaminated=sum(bool(task.canary) for task in tasks),
        sessions_lost=sum(map(sessions_lost, runs)),
        outputs_differ=sum(_differing(run, reference) for run in runs),
    )


def percentiles(values: Iterable[float]) -> dict[str, float]:
    """Return some percentiles, by nearest rank; nothing of nothing."""
    ordered = sorted(values)
    if not ordered:
        return {}
    return {name: ordered[max(math.ceil(share * len(ordered)), 1) - 1] for name, share in _SHARES.items()}


def sessions_lost(run: Run) -> int:
    """Return how many sessions were in the memory of processes that died, and nowhere else."""
    if run.strategy not in _KEEPING:
        return 0
    dead = {one.pid for task in run.tasks for one in task.tries if one.outcome in PROCESS_ENDS}
    kept = {
        task.session
        for task in run.tasks
        if task.session and task.succeeded and task.tries and task.tries[-1].pid in dead
    }
    return len(kept)


def costs_of_faults(runs: Sequence[Run]) -> dict[str, dict[str, int]]:
    """Return for each fault how many tasks had it, how many of those were lost, and how many innocents with them."""
    costs: dict[str, Counter[str]] = {}
    for run in runs:
        culprits = _culprits(run)
        for task in run.tasks:
            if task.fault:
                costs.setdefault(task.fault, Counter()).update(tasks=1, lost=int(not task.succeeded))
            elif not task.succeeded:
                fault = culprits.get(_process_named(task), "")
                costs.setdefault(fault, Counter()).update(innocents_lost=1)
    names = ("tasks", "lost", "innocents_lost")
    return {fault: {name: cost[name] for name in names} for fault, cost in sorted(costs.items())}


def throughput(run: Run) -> list[tuple[float, int]]:
    """Return how many tasks had a result by then, at each moment that one of them got it."""
    ends = sorted(task.ended_s for task in run.tasks if task.succeeded)
    return [(at, number) for number, at in enumerate(ends, start=1)]


def _culprits(run: Run) -> dict[int, str]:
    """Return the fault that ended each process, as far as one did."""
    return {
        one.pid: task.fault for task in run.tasks for one in task.tries if task.fault and one.outcome in PROCESS_ENDS
    }


def _process_named(task: TaskOutcome) -> int:
    """Return the process that a task was dropped with; 0 if it was not: what else failures say is the behaviour's."""
    found = _PROCESS.search(task.message) if task.failure == "DROPPED" else None
    return int(found.group(1)) if found else 0


def _tasks_per_s(run: Run) -> float:
    return sum(task.succeeded for task in run.tasks) / run.makespan_s if run.makespan_s else 0.0


def _peak_memory(run: Run) -> int:
    return max((one.memory_bytes for one in run.samples), default=0)


def _memory_gib_s(run: Run) -> float:
    total, before = 0.0, 0.0
    for one in run.samples:
        total += one.memory_bytes / _GIB * (one.at_s - before)
        before = one.at_s
    return total


def _differing(run: Run, reference: Run) -> int:
    """Return how many tasks have another result than in the reference; a task without one has none to differ."""
    known = {task.index: task.digest for task in reference.tasks if task.digest}
    return sum(bool(task.digest) and task.digest != known.get(task.index, task.digest) for task in run.tasks)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, tuple) else value
