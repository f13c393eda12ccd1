"""What stays behind of a hundred thousand tasks: nothing."""

import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psutil
from hundredfold import Submission, SyncClient
from hundredfold.testing.coordinator import eventually
from measures import FAULTS, coordinator

_WARM_UP: Final = 5_000
_WAVE: Final = 1_000
_STAGE: Final = 10_000
_KEPT: Final = 2_000
_CALM_SECONDS: Final = 30.0
"""gRPC's event engine ends threads that it added under load when they were idle for 20 s."""


def drift(directory: Path, n: int = 100_000) -> dict[str, Any]:
    """Run 5,000 tasks, look, run `n` more, look again."""
    plugin = FAULTS / "agents.py"
    arguments = ["--concurrency", "50", "--retention-tasks", str(_KEPT)]
    with coordinator(directory, plugin, *arguments) as process, process.client() as client:
        processes = [psutil.Process(process.pid), psutil.Process(client.hosts()[0].pid)]
        _run(client, directory, _WARM_UP)
        time.sleep(_CALM_SECONDS)
        before, threads = _look(processes, directory), [_threads(processes)]
        for _ in range(0, n, _STAGE):
            _run(client, directory, min(n, _STAGE))
            threads.append(_threads(processes))
        time.sleep(_CALM_SECONDS)
        after, new = _look(processes, directory), _threads(processes) - threads[0]
    growth = {f"{name}_growth": round(after[name] - before[name], 2) for name in before}
    stages = [one.total() for one in threads]
    return {"n": n, **growth, "store_mb": after["store_mb"], "threads": stages, "new_threads": dict(new)}


def _run(client: SyncClient, directory: Path, number: int) -> None:
    wish = Submission("count", {"ledger": "/dev/null", "name": str(directory)[-1]})
    for _ in range(0, number, _WAVE):
        ids = [task.id for task in client.submit_many([wish] * _WAVE)]
        assert len(list(client.as_ended(ids, timeout_seconds=300))) == _WAVE
        sys.stderr.write(".")
    sys.stderr.write(f"  {number} more\n")
    eventually(lambda: not client.workers(), what="the end of the last one")


def _threads(processes: list[psutil.Process]) -> Counter[str]:
    """Count threads by the name that the kernel knows them by, which tells whose they are."""
    names = [path.read_text().strip() for one in processes for path in Path(f"/proc/{one.pid}/task").glob("*/comm")]
    return Counter(names)


def _look(processes: list[psutil.Process], directory: Path) -> dict[str, float]:
    """Return descriptors, threads and memory of coordinator and host, and the size of the store."""

    def total(figure: Callable[[psutil.Process], float]) -> float:
        return sum(map(figure, processes))

    size = sum(path.stat().st_size for path in (directory / "data").glob("hundredfold.db*"))
    return {
        "descriptors": total(lambda process: process.num_fds()),
        "threads": total(lambda process: process.num_threads()),
        "rss_mb": total(lambda process: process.memory_info().rss / (1 << 20)),
        "store_mb": round(size / (1 << 20), 2),
    }
