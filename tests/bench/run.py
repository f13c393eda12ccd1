"""One run: the daemon without tasks, bare fork, the daemon with tasks; and the line that says how they compare."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accounting
from daemon import Daemon, running
from figures import Line, is_valid, mebibytes, others, per_task_ms, percentile, ratio
from hundredfold.v1 import task_pb2
from memory import Memory, Sampler
from workloads import Outcome, Workload

_BASELINE = Path(__file__).resolve().with_name("baseline.py")


@dataclass(frozen=True, slots=True)
class Measured:
    """One life of a daemon.

    Attributes:
        cpu_s: of its whole tree, from exec to the last reap.
        shares: CPU seconds by role, from ready to idle.
        others_cores: cores that everything else kept busy meanwhile.

    """

    outcome: Outcome
    peak: Memory
    cpu_s: float
    shares: dict[str, float]
    others_cores: float
    cold_start_s: float


async def run(workload: Workload, n: int) -> Line:
    """Run a workload once."""
    idle = await _measure(workload, 0, workload.concurrency(n))
    bare_makespan_s, bare_cpu_s = _bare_fork(workload, n)
    loaded = await _measure(workload, n, workload.concurrency(n))
    _explain(loaded.outcome)
    return Line(
        workload=workload.name,
        n=n,
        ratio_makespan=None if workload.seconds == "hold" else ratio(loaded.outcome.makespan_s, bare_makespan_s),
        bare_fork_makespan_s=bare_makespan_s,
        bare_fork_tasks_per_s=ratio(n, bare_makespan_s),
        bare_fork_cpu_ms=per_task_ms(bare_cpu_s, n),
        valid=is_valid(per_task_ms(bare_cpu_s, n)),
        cpu_ms_per_task=per_task_ms(loaded.cpu_s, n, idle.cpu_s),
        cold_start_s=loaded.cold_start_s,
        others_cores=loaded.others_cores,
        **_shares(loaded.shares, n),
        **_results(loaded.outcome, n),
        **_memory(loaded.peak),
    )


def _results(outcome: Outcome, n: int) -> dict[str, Any]:
    done = sum(task.state == task_pb2.TASK_STATE_SUCCEEDED for task in outcome.tasks)
    return {
        "done": done,
        "failed": n - done,
        "makespan_s": outcome.makespan_s,
        "p50_s": percentile(outcome.latencies, 0.50),
        "p99_s": percentile(outcome.latencies, 0.99),
        "tasks_per_s": ratio(done, outcome.makespan_s),
        "distinct_pids": len({attempt.pid for task in outcome.tasks for attempt in task.attempts if attempt.pid}),
    }


def _shares(shares: dict[str, float], n: int) -> dict[str, Any]:
    return {f"cpu_ms_{role}": per_task_ms(seconds, n) for role, seconds in shares.items()}


def _memory(peak: Memory) -> dict[str, Any]:
    return {
        "peak_pss_mb": mebibytes(peak.total),
        "pss_per_agent_mb": ratio(mebibytes(peak.workers), peak.agents),
        "coordinator_pss_mb": mebibytes(peak.coordinator),
        "host_pss_mb": mebibytes(peak.host),
        "zygote_pss_mb": mebibytes(peak.zygote),
    }


async def _measure(workload: Workload, n: int, concurrency: int) -> Measured:
    sampler, begin = Sampler(), time.perf_counter()
    before, machine, client = accounting.cpu_of_ended(), accounting.cpu_of_machine(), accounting.cpu_of_self()
    async with running(concurrency) as daemon:
        began = daemon.family.cpu_seconds()
        outcome = await workload.drive(daemon, n, sampler)
        await daemon.idle()
        ended = daemon.family.cpu_seconds()
        outcome.tasks = [await _final(daemon, task) for task in outcome.tasks]
    shares = {role: ended[role] - began[role] for role in ended}
    cpu_s = accounting.cpu_of_ended() - before
    own_s = cpu_s + accounting.cpu_of_self() - client
    others_cores = others(accounting.cpu_of_machine() - machine, own_s, time.perf_counter() - begin)
    return Measured(outcome, sampler.peak, cpu_s, shares, others_cores, daemon.cold_start_s)


async def _final(daemon: Daemon, task: task_pb2.Task) -> task_pb2.Task:
    """Return the record with every attempt's pid, which can be written just after the task's end."""
    return task if all(attempt.pid for attempt in task.attempts) else await daemon.client.get(task.id)


def _bare_fork(workload: Workload, n: int) -> tuple[float, float]:
    """Return makespan and CPU seconds of the same work by bare fork."""
    argv = [sys.executable, "-I", str(_BASELINE), str(n), str(workload.concurrency(n)), workload.seconds]
    figures = json.loads(subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout)
    return figures["makespan_s"], figures["cpu_s"]


def _explain(outcome: Outcome) -> None:
    """Say why tasks failed, on stderr."""
    reasons = outcome.refused + [task.failure.message for task in outcome.tasks if task.HasField("failure")]
    if outcome.timed_out:
        sys.stderr.write("bench: gave up waiting for tasks that do not end\n")
    for reason in dict.fromkeys(reasons):
        sys.stderr.write(f"bench: {reasons.count(reason)} task(s) without result: {reason}\n")
