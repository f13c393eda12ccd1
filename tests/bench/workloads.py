"""The workloads: what is submitted, and when it is over."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from daemon import Daemon, DaemonError
from hundredfold import Submission
from hundredfold.errors import TimedOut
from hundredfold.v1 import task_pb2
from memory import Sampler, measure

_POLL_SECONDS = 0.2
_SETTLE_SECONDS = 1.0


@dataclass(slots=True)
class Outcome:
    """What the client saw.

    Attributes:
        latencies: seconds each task took.
        refused: why submissions were not accepted.
        timed_out: whether some never ended.

    """

    makespan_s: float = 0.0
    tasks: list[task_pb2.Task] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    timed_out: bool = False

    async def wait(self, daemon: Daemon, ids: list[str], seconds: float) -> None:
        """Collect tasks as they end."""
        try:
            async for task in daemon.client.as_ended(ids, timeout_seconds=seconds):
                self.tasks.append(task)
        except TimedOut:
            self.timed_out = True


Drive = Callable[[Daemon, int, Sampler], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Workload:
    """One way to load a daemon.

    Attributes:
        n: how many tasks, if nobody says.
        at_once: how many at a time; 0 for all.
        seconds: what a child of the baseline does; see `baseline`.

    """

    name: str
    help: str
    n: int
    at_once: int
    seconds: str
    drive: Drive

    def concurrency(self, n: int) -> int:
        """Return how many of n tasks may be alive at once."""
        return self.at_once or n


def _together(behaviour: str, strategy: str = "") -> Drive:
    async def drive(daemon: Daemon, n: int, sampler: Sampler) -> Outcome:
        async with sampler.sampling(daemon.family):
            return await _all(daemon, n, behaviour, {}, strategy)

    return drive


def _one_by_one(strategy: str = "") -> Drive:
    async def drive(daemon: Daemon, n: int, sampler: Sampler) -> Outcome:
        outcome = Outcome()
        async with sampler.sampling(daemon.family):
            begin = time.perf_counter()
            for _ in range(n):
                submitted = time.perf_counter()
                task = await daemon.client.submit("noop", {}, strategy=strategy)
                await outcome.wait(daemon, [task.id], _limit(1))
                if outcome.timed_out:
                    break
                outcome.latencies.append(time.perf_counter() - submitted)
            outcome.makespan_s = time.perf_counter() - begin
        return outcome

    return drive


async def _held(daemon: Daemon, n: int, sampler: Sampler) -> Outcome:
    gate = daemon.directory / "gate"
    os.mkfifo(gate)
    running = asyncio.create_task(_all(daemon, n, "hold", {"gate": str(gate)}))
    try:
        await _until_running(daemon, n, running)
        await asyncio.sleep(_SETTLE_SECONDS)
        sampler.keep(await asyncio.to_thread(measure, daemon.family))
        with gate.open("r+b", buffering=0):  # open for both, so that it does not wait for a reader
            return await running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _all(daemon: Daemon, n: int, behaviour: str, value: Any, strategy: str = "") -> Outcome:
    outcome = Outcome()
    begin = time.perf_counter()
    answers = await daemon.client.submit_many(Submission(behaviour, value, strategy=strategy) for _ in range(n))
    ids = [answer.id for answer in answers if isinstance(answer, task_pb2.Task)]
    outcome.refused = [str(answer) for answer in answers if not isinstance(answer, task_pb2.Task)]
    if ids:
        await outcome.wait(daemon, ids, _limit(n))
    outcome.makespan_s = time.perf_counter() - begin
    outcome.latencies = [_nanoseconds(task.end_time) - _nanoseconds(task.create_time) for task in outcome.tasks]
    return outcome


async def _until_running(daemon: Daemon, n: int, ending: "asyncio.Task[Outcome]") -> None:
    while n:
        counts = {count.state: count.count for count in (await daemon.client.status()).task_counts}
        if counts.get(task_pb2.TASK_STATE_RUNNING) == n:
            return
        if ending.done() or counts.get(task_pb2.TASK_STATE_FAILED):
            states = {task_pb2.TaskState.Name(state): count for state, count in counts.items()}
            raise DaemonError(f"not all of {n} agents came to wait; tasks by state: {states}")
        await asyncio.sleep(_POLL_SECONDS)


def _limit(n: int) -> float:
    """Return seconds within which n tasks end even on a busy machine; after that they are stuck."""
    return 30 + n / 10


def _nanoseconds(moment: Any) -> float:
    return int(moment.ToNanoseconds()) / 1e9


WORKLOADS = (
    Workload("hundred", "n agents at once, each sleeps one second", 100, 0, "1", _together("nap")),
    Workload("churn", "n no-op tasks, 16 at a time", 2000, 16, "0", _together("noop")),
    Workload("latency", "n no-op tasks, one after the other", 100, 1, "0", _one_by_one()),
    Workload("pool", "n no-op tasks, by 32 workers that stay", 5000, 100, "0", _together("noop", "pool")),
    Workload(
        "pool-latency", "n no-op tasks, one after the other, by one such worker", 200, 1, "0", _one_by_one("pool")
    ),
    Workload("memory", "n agents that wait until all are alive", 100, 0, "hold", _held),
)
