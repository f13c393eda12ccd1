"""Figures of a comparison: what the runs of each strategy show together. Pure."""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from hundredfold_coordinator.trial.loss import Cause, losses_of
from hundredfold_coordinator.trial.outcome import PROCESS_ENDS, Run, TaskOutcome
from hundredfold_coordinator.trial.yardstick import Yardstick

_SHARES: Final = {"p50": 0.50, "p90": 0.90, "p99": 0.99}
_GIB: Final = 1 << 30
_KEEPING: Final = frozenset({"stateful", "sequential"})
_FROM_OUTSIDE: Final = frozenset({"EVICTED", "HOST_LOST"})
"""Ends of attempts that are not their task's doing; what else may have had a part in one, nobody can prove."""


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
        peak_cores: most CPUs at once, over a tenth of a second, less what all else did on average.
        cpu_s: CPU time of the coordinator and all its descendants.
        succeeded: tasks with a result.
        lost: tasks without one.
        lost_by: those, by how they ended.
        lost_to_own_fault, taken_along, failed_by_itself: how many of those for which `Cause`.
        innocents: tasks that no fault was injected into.
        innocents_affected: those of them that were taken along, or had an attempt that was ended from outside.
        innocents_late: those with a result that took more than twice as long as the slowest of them that had one under
            `fresh`, in the same repetition; None if that is not known.
        contaminated: tasks that found another one's trace in their process.
        sessions_lost: sessions whose content was in the memory of a process that died.
        outputs_compared: results of lines that an earlier run has had a result of, too.
        outputs_differ: those of them that are not the same as in the first of these runs; None if there are none.

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
    lost_to_own_fault: int
    taken_along: int
    failed_by_itself: int
    innocents: int
    innocents_affected: int
    innocents_late: int | None
    contaminated: int
    sessions_lost: int
    outputs_compared: int
    outputs_differ: int | None

    def as_dict(self) -> dict[str, Any]:
        """Return them as JSON has them."""
        return {name: _rounded(value) for name, value in asdict(self).items()}


def figures_of(runs: Sequence[Run], yardstick: Yardstick) -> Figures:
    """Return what the runs of one strategy show, measured by what all runs do."""
    tasks = [task for run in runs for task in run.tasks]
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
        **_losses(runs, tasks),
        **_harm(runs, tasks, yardstick),
    )


def _losses(runs: Sequence[Run], tasks: Sequence[TaskOutcome]) -> dict[str, Any]:
    """Return who has no result, and why."""
    lost = [task for task in tasks if not task.succeeded]
    causes = Counter(loss.cause for run in runs for loss in losses_of(run))
    return {
        "succeeded": len(tasks) - len(lost),
        "lost": len(lost),
        "lost_by": dict(Counter(task.failure or task.state for task in lost).most_common()),
        **{str(cause): causes[cause] for cause in Cause},
    }


def _harm(runs: Sequence[Run], tasks: Sequence[TaskOutcome], yardstick: Yardstick) -> dict[str, Any]:
    """Return what tasks had to do with each other, and whether they came to the same."""
    innocents = [task for task in tasks if not task.fault]
    late = [count for count in map(yardstick.late, runs) if count is not None]
    differing = [one for run in runs for one in yardstick.differing(run)]
    return {
        "innocents": len(innocents),
        "innocents_affected": sum(map(_is_affected, innocents)),
        "innocents_late": sum(late) if late else None,
        "contaminated": sum(bool(task.canary) for task in tasks),
        "sessions_lost": sum(map(sessions_lost, runs)),
        "outputs_compared": len(differing),
        "outputs_differ": sum(differing) if differing else None,
    }


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


def _is_affected(task: TaskOutcome) -> bool:
    return task.was_dropped or any(one.outcome in _FROM_OUTSIDE for one in task.tries)


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


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, tuple) else value
