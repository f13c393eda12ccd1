"""What becomes of a machine when its agents want more memory than it has: makespans, deaths, bystanders.

On a machine of 4 GiB, which is a cgroup where this process may make one: there the kernel would end whatever passes
the limit, and counts how often it did.
"""

import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from hundredfold import Limits, Retry, Submission, SyncClient
from hundredfold.v1 import attempt_pb2, task_pb2
from measures import coordinator

_AGENTS: Final = Path(__file__).with_name("agents.py")
_LIMIT: Final = 4 << 30
_HOG: Final = {"mebibytes": 1024, "seconds": 1.0, "hold_seconds": 2.0}
_EVICTIONS: Final = Retry(causes={"evicted": 100}, initial_seconds=0.2, max_seconds=2)
_SUCCEEDED: Final = task_pb2.TASK_STATE_SUCCEEDED


class MemoryCgroup:
    """A memory cgroup of version 1 below this process's own, which this process moves into."""

    def __init__(self, limit: int) -> None:
        line = next(one for one in Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in one)
        self._before = Path("/sys/fs/cgroup/memory") / line.split(":", 2)[2].lstrip("/")
        self.path = self._before / f"soak-{os.getpid()}"
        self.path.mkdir()
        (self.path / "memory.limit_in_bytes").write_text(str(limit))
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    @property
    def kills(self) -> int:
        """How often the kernel has ended a process for the limit of this very cgroup."""
        words = (self.path / "memory.oom_control").read_text().split()
        return int(words[words.index("oom_kill") + 1])

    def leave(self) -> None:
        """Move back, and remove it."""
        (self._before / "cgroup.procs").write_text(str(os.getpid()))
        with contextlib.suppress(OSError):
            self.path.rmdir()


@contextlib.contextmanager
def _small_machine() -> Iterator[MemoryCgroup]:
    cgroup = MemoryCgroup(_LIMIT)
    try:
        yield cgroup
    finally:
        cgroup.leave()


def hogs(directory: Path, n: int = 100) -> dict[str, Any]:
    """Run `n` tasks of 1 GiB each of which nothing is declared, twice; compare with the best fixed concurrency."""
    figures: dict[str, Any] = {"n": n}
    with _small_machine() as cgroup:
        best = min(_by_hand(directory / f"hand{count}", n, count) for count in (2, 3))
        with (
            coordinator(directory / "learning", _AGENTS, "--concurrency", "100") as process,
            process.client() as client,
        ):
            for name in ("first", "second"):
                makespan, tasks = _run(client, [Submission("grow", _HOG, retry=_EVICTIONS)] * n)
                figures |= {f"{name}_s": makespan, f"{name}_ratio": round(makespan / best, 3)}
                figures |= {f"{name}_{key}": value for key, value in _outcomes(tasks).items()}
        figures |= {"best_by_hand_s": best, "kernel_kills": cgroup.kills}
    return figures


def storm(directory: Path, n: int = 200) -> dict[str, Any]:
    """Run `n` innocent tasks beside 20 that leak until they are ended."""
    with _small_machine() as cgroup, contextlib.ExitStack() as stack:
        process = stack.enter_context(coordinator(directory, _AGENTS, "--concurrency", "300"))
        client = stack.enter_context(process.client())
        leak = Submission(
            "leak", {"mebibytes_per_second": 200}, retry=Retry(causes={"evicted": 2}, initial_seconds=0.5)
        )
        limited = Submission("leak", {"mebibytes_per_second": 200}, limits=Limits(memory_bytes=256 << 20))
        wishes = [Submission("nap", {"seconds": 3.0})] * n
        makespan, tasks = _run(client, [*([leak] * 10), *wishes, *([limited] * 10)])
        kills = cgroup.kills
    innocent = [task for task in tasks if task.spec.behaviour == "nap"]
    hogs = [task for task in tasks if task.spec.behaviour == "leak"]
    affected = sum(task.state != _SUCCEEDED or len(task.attempts) > 1 for task in innocent)
    reasons = Counter(task.failure.type for task in hogs)
    unexplained = sum("MiB" not in attempt.failure.message for task in hogs for attempt in task.attempts)
    return {
        "n": n,
        "affected": affected,
        "makespan_s": makespan,
        "hogs": dict(reasons),
        "hogs_without_figures": unexplained,
        "kernel_kills": kills,
    }


def _by_hand(directory: Path, n: int, concurrency: int) -> float:
    """Return the makespan with a fixed number at once, and nothing else in the way."""
    options = ["--concurrency", str(concurrency), "--memory-reserve-bytes", "0"]
    with coordinator(directory, _AGENTS, *options) as process, process.client() as client:
        makespan, tasks = _run(client, [Submission("grow", _HOG, retry=_EVICTIONS)] * n)
    assert {(task.state, len(task.attempts)) for task in tasks} == {(_SUCCEEDED, 1)}, "this is no way to run them"
    sys.stderr.write(f"  by hand, {concurrency} at once: {makespan} s\n")
    return makespan


def _run(client: SyncClient, wishes: list[Submission]) -> tuple[float, list[task_pb2.Task]]:
    begin = time.monotonic()
    ids = [task.id for task in client.submit_many(wishes)]
    ended = list(client.as_ended(ids, timeout_seconds=3600))
    return round(time.monotonic() - begin, 2), ended


def _outcomes(tasks: list[task_pb2.Task]) -> dict[str, Any]:
    outcomes = Counter(attempt.outcome for task in tasks for attempt in task.attempts)
    names = {
        attempt_pb2.AttemptOutcome.Name(one).removeprefix("ATTEMPT_OUTCOME_").lower(): n for one, n in outcomes.items()
    }
    return {"succeeded": sum(task.state == _SUCCEEDED for task in tasks), "outcomes": names}
