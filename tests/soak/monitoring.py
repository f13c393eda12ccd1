"""What watching costs: the CPU time of a host with a thousand idle agents."""

import time
from pathlib import Path
from typing import Any, Final

import psutil
from hundredfold import Submission
from hundredfold.testing.coordinator import eventually
from measures import coordinator

_AGENTS: Final = Path(__file__).with_name("agents.py")
_SECONDS: Final = 20.0


def monitoring(directory: Path, n: int = 1000) -> dict[str, Any]:
    """Let `n` agents sleep, and return what share of a core host and coordinator take meanwhile."""
    with coordinator(directory, _AGENTS, "--concurrency", str(n)) as process, process.client() as client:
        client.submit_many([Submission("nap", {"seconds": 120.0})] * n)
        eventually(lambda: len(client.workers()) == n, seconds=60, what="all of them")
        time.sleep(5)
        host, coordinating = psutil.Process(client.hosts()[0].pid), psutil.Process(process.pid)
        before = [_cpu(one) for one in (host, coordinating)]
        time.sleep(_SECONDS)
        shares = [(_cpu(one) - was) / _SECONDS for one, was in zip((host, coordinating), before, strict=True)]
        sampled = sum(worker.pss_bytes > 0 for worker in client.workers())
    return {"n": n, "host_cores": round(shares[0], 4), "coordinator_cores": round(shares[1], 4), "sampled": sampled}


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
