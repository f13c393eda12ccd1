"""What is computed from what was measured: pure functions, and the line that is printed.

Imports nothing of the bench and nothing of Hundredfold.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

FORK_LIMIT_MS = 6.0
"""Above this CPU time for one bare fork the machine was busy with something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One run. Times of the daemon's tree, figures per task, mebibytes; None where nothing can be said.

    Attributes:
        makespan_s: from the first submission to the last result; the daemon was ready.
        cpu_ms_per_task: of everything the daemon started, less that of a run without tasks, a task.
        cpu_ms_coordinator: that process's share of it, a task, from ready to idle; and so on.
        peak_pss_mb: of the whole tree; `memory` measures every process, the others extrapolate from a few agents.
        cold_start_s: from the exec of `serve` until its environment has reported.
        bare_fork_cpu_ms: of one fork.
        ratio_makespan: to that of bare fork; None for `memory`, which stops to measure.
        others_cores: cores that everything else on the machine kept busy meanwhile.
        valid: whether bare fork was cheap enough for the machine to have been idle.

    """

    workload: str
    n: int
    done: int
    failed: int
    makespan_s: float
    p50_s: float | None
    p99_s: float | None
    tasks_per_s: float | None
    cpu_ms_per_task: float
    cpu_ms_coordinator: float
    cpu_ms_host: float
    cpu_ms_zygote: float
    cpu_ms_workers: float
    peak_pss_mb: float
    pss_per_agent_mb: float | None
    coordinator_pss_mb: float
    host_pss_mb: float
    zygote_pss_mb: float
    distinct_pids: int
    cold_start_s: float
    bare_fork_makespan_s: float
    bare_fork_tasks_per_s: float | None
    bare_fork_cpu_ms: float
    ratio_makespan: float | None
    others_cores: float
    valid: bool

    def json(self) -> str:
        """Return the line, figures rounded to what can be told apart."""
        values = asdict(self)
        return json.dumps(
            {key: round(value, 4) if isinstance(value, float) else value for key, value in values.items()}
        )


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least `share` of all do not exceed (nearest rank); None if there are none."""
    if not values:
        return None
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]


def ratio(value: float, base: float) -> float | None:
    """Return value / base; None if there is no base."""
    return value / base if base > 0 else None


def per_task_ms(seconds: float, n: int, idle_seconds: float = 0.0) -> float:
    """Return the milliseconds a task, less what a run without tasks uses."""
    return (seconds - idle_seconds) * 1000 / n


def others(machine_s: float, own_s: float, elapsed_s: float) -> float:
    """Return the cores that processes other than our own kept busy; never negative, as clocks tick differently."""
    return max(machine_s - own_s, 0.0) / elapsed_s


def is_valid(fork_ms: float) -> bool:
    """Return whether the machine was idle enough, judged by the CPU time of one bare fork."""
    return fork_ms <= FORK_LIMIT_MS


def mebibytes(size: float) -> float:
    """Return bytes as MiB."""
    return size / (1 << 20)
