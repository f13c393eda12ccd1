"""What a fault costs, in figures."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import psutil
from hundredfold import Limits, Submission, SyncClient
from hundredfold.client import result_of
from hundredfold.testing.coordinator import CoordinatorProcess, eventually
from hundredfold.v1 import task_pb2

FAULTS: Final = Path(__file__).resolve().parents[1] / "faults"
_SUCCEEDED: Final = task_pb2.TASK_STATE_SUCCEEDED
_RUNNING: Final = task_pb2.TASK_STATE_RUNNING


@contextlib.contextmanager
def coordinator(directory: Path, plugin: Path, *arguments: str) -> Iterator[CoordinatorProcess]:
    """Run a coordinator while the block runs."""
    process = CoordinatorProcess(directory / "data", ["--plugin", str(plugin), *arguments])
    try:
        yield process
    finally:
        process.stop()


def deaths(directory: Path, n: int = 100) -> dict[str, Any]:
    """Kill `n` idle agents one after the other, 100 others alive; time each until a watcher has been told."""
    with coordinator(directory, FAULTS / "agents.py", "--concurrency", "300") as process, process.client() as client:
        ids = _hold(client, directory, n + 100)
        seconds = []
        for task_id in ids[:n]:
            attempt = client.get(task_id).attempts[-1]
            events = client.watch(task_id, after_sequence=client.get(task_id).last_sequence)
            began = time.perf_counter()
            os.kill(attempt.pid, signal.SIGKILL)
            next(events)
            seconds.append(time.perf_counter() - began)
            events.close()
        (directory / "go").touch()
    return {"n": n, **_percentiles(seconds)}


def restarts(directory: Path, n: int = 20) -> dict[str, Any]:
    """Kill the coordinator `n` times with 10,000 tasks queued and 100 running, then let all come to their end."""
    plugin = FAULTS / "agents.py"
    arguments = ["--plugin", str(plugin), "--concurrency", "100"]
    process = CoordinatorProcess(directory / "data", arguments)
    with process.client() as client:
        running = _hold(client, directory, 100)
        pids = {task_id: client.get(task_id).attempts[0].pid for task_id in running}
        wish = Submission("count", {"ledger": str(directory / "ledger"), "name": "queued"})
        queued = [task.id for task in client.submit_many([wish] * 10_000)]
    seconds = []
    for number in range(n):
        process.signal(signal.SIGKILL)
        process.wait()
        began = time.perf_counter()
        process = CoordinatorProcess(directory / "data", arguments, wait=False)
        eventually(lambda p=process: "hundredfold serves at" in p.log, seconds=30, what="serving")
        with process.client() as client:
            client.status()
            seconds.append(time.perf_counter() - began)
            client.environments()
        sys.stderr.write(f"  restart {number + 1}: {seconds[-1]:.2f} s\n")
    with process.client() as client:
        (directory / "go").touch()
        ended = {task.id: task for task in client.as_ended([*running, *queued], timeout_seconds=600)}
    process.stop()
    kept = [ended[one] for one in running]
    return {
        "n": n,
        **_percentiles(seconds),
        "agents_that_finished": sum(task.state == _SUCCEEDED for task in kept),
        "executed_again": sum(len(task.attempts) > 1 or result_of(task) != pids[task.id] for task in kept),
        "queued_that_finished": sum(ended[one].state == _SUCCEEDED for one in queued),
    }


def zygotes(directory: Path, n: int = 4) -> dict[str, Any]:
    """Kill the zygote `n` times with agents alive; time until the next one is forked, and what importing costs."""
    with coordinator(directory, FAULTS / "agents.py", "--concurrency", "300") as process, process.client() as client:
        ids = _hold(client, directory, 20)
        host = psutil.Process(client.hosts()[0].pid)
        seconds = []
        for _ in range(n):
            (zygote,) = [child for child in host.children() if "zygote" in " ".join(child.cmdline())]
            began = time.perf_counter()
            zygote.kill()
            time.sleep(0.02)  # what is launched before the host knows fails with the zygote
            wish = {"ledger": str(directory / "ledger"), "name": "next"}
            task = client.wait(client.submit("count", wish).id)
            assert task.state == _SUCCEEDED
            seconds.append(time.perf_counter() - began)
        (directory / "go").touch()
        kept = list(client.as_ended(ids, timeout_seconds=30))
    began = time.perf_counter()
    with coordinator(directory, FAULTS / "agents.py"):
        cold = time.perf_counter() - began
    return {
        "n": n,
        **_percentiles(seconds),
        "cold_start_with_import_s": round(cold, 3),
        "agents_lost": sum(task.state != _SUCCEEDED or len(task.attempts) > 1 for task in kept),
    }


def neighbours(directory: Path, n: int = 500) -> dict[str, Any]:
    """Run `n` innocent tasks beside every fault, three times each; count what they noticed."""
    plugin = FAULTS / "containment" / "agents.py"
    arguments = ["--concurrency", "60", "--grace-seconds", "0.5"]
    with coordinator(directory, plugin, *arguments) as process, process.client() as client:
        innocent = [task.id for task in client.submit_many([Submission("nap", {"seconds": 0.3})] * (n // 2))]
        guilty = [task.id for task in client.submit_many(_faults(directory) * 3)]
        innocent += [task.id for task in client.submit_many([Submission("nap", {"seconds": 0.3})] * (n // 2))]
        ended = {task.id: task for task in client.as_ended([*innocent, *guilty], timeout_seconds=600)}
        time.sleep(2)
        receipts = [attempt.receipt for one in guilty for attempt in client.get(one).attempts]
    return {
        "n": n,
        "affected": sum(ended[one].state != _SUCCEEDED or len(ended[one].attempts) > 1 for one in innocent),
        "faults": len(guilty),
        "outcomes": sorted({task_pb2.TaskState.Name(ended[one].state) for one in guilty}),
        "without_receipt": sum(not receipt.HasField("empty_time") for receipt in receipts),
        "survivors": sum(receipt.survivors for receipt in receipts),
    }


def _faults(directory: Path) -> list[Submission]:
    """Return a task for every way that a worker can go wrong."""
    limits = Limits(wall_seconds=2, memory_bytes=300 << 20, processes=60)
    wishes: Sequence[tuple[str, dict[str, Any]]] = [
        *(("die", {"name": name}) for name in ("SIGKILL", "SIGSEGV", "SIGABRT", "SIGBUS", "SIGSTOP")),
        ("leave", {}),
        ("ignore_sigterm", {}),
        ("spin", {"how": "python"}),
        ("spin", {"how": "native"}),
        ("eat", {"how": "at once"}),
        ("eat", {"how": "slowly"}),
        ("eat", {"how": "child"}),
        ("bomb", {}),
        ("daemonise", {"path": str(directory / "daemon")}),
        ("keep_stdout", {}),
        ("shout", {"seconds": 1}),
        ("exhaust", {"path": str(directory / "file")}),
        ("make_a_mess", {}),
    ]
    return [Submission(name, given, limits=limits) for name, given in wishes]


def _hold(client: SyncClient, directory: Path, number: int) -> list[str]:
    """Have so many idle agents alive, until there is a file `go`."""
    wish = Submission("hold", {"path": str(directory / "go")})
    ids = [task.id for task in client.submit_many([wish] * number)]
    eventually(lambda: all(client.get(one).state == _RUNNING for one in ids), seconds=60, what="agents")
    eventually(lambda: all(client.get(one).attempts[-1].pid for one in ids), seconds=60, what="pids")
    return ids


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    at = {"p50_s": 0.5, "p99_s": 0.99}
    return {name: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 4) for name, share in at.items()}
