"""`scripts/bench budget [--n N]`: the way of one task, stage by stage: what each takes, and what it costs.

Tasks run one after the other, so that whatever the coordinator does between two points is done for the one task. The
points cost a few microseconds themselves. `wall` is from one point to the next; `cpu` is that of the process named, in
all of its threads.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import accounting
from hundredfold import SyncClient
from hundredfold.testing.coordinator import CoordinatorProcess
from hundredfold.v1 import task_pb2

_HERE = Path(__file__).resolve().parent
_DISK = "/var/tmp"  # noqa: S108  # as in `daemon`

STAGES = (
    ("submit", "coordinator", "", "event.Submitted", "the call comes in and is checked"),
    ("schedule", "coordinator", "event.Submitted", "decided.Submitted", "admission, the choice of a host, the attempt"),
    ("commit", "coordinator", "decided.Submitted", "effect.Launch", "task and attempt are synced to the disk"),
    ("launch", "coordinator", "effect.Launch", "event.Taken", "to the host, the fork, the worker's call"),
    ("start", "coordinator", "event.Taken", "effect.Reply", "the attempt is recorded as running, and synced"),
    ("complete", "coordinator", "event.Completed", "decided.Completed", "the result is decided on"),
    ("commit result", "coordinator", "decided.Completed", "effect.Announce", "result, events and task are synced"),
    ("reap", "coordinator", "event.Exited", "decided.Exited", "the receipt is written down, the footprint learned"),
    ("hygiene", "worker", "forked", "ready", "session, descriptors, limits, title"),
    ("connect", "worker", "ready", "taken", "connect, ask for the attempt, wait for its commit"),
    ("prepare", "worker", "taken", "begun", "input is checked, the context is made"),
    ("behaviour", "worker", "begun", "returned", "a no-op"),
    ("deliver", "worker", "returned", "delivered", "the result is sent, and its commit waited for"),
    ("leave", "worker", "delivered", "leaves", "streams are flushed"),
)
"""Name, process, the points it lies between, and what happens: in the order of a task's life, for each process."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A point that was passed."""

    name: str
    wall_ns: int
    cpu_ns: int


def main(n: int) -> None:
    """Measure, and write one JSON line for each stage."""
    with tempfile.TemporaryDirectory(dir=_DISK, prefix="hundredfold-budget-") as directory:
        points = Path(directory) / "points"
        points.mkdir()
        os.environ["POINTS_DIRECTORY"] = str(points)
        roles, tasks = _run(Path(directory), n)
        coordinator, workers = _read(points)
        stages = [_stage(*stage, coordinator=coordinator, workers=workers) for stage in STAGES]
    for line in [*stages, *_by_receipt(tasks), *roles]:
        print(json.dumps(line), flush=True)
    _show([*stages, *_by_receipt(tasks), *roles])


def _run(directory: Path, n: int) -> tuple[list[dict[str, object]], list[task_pb2.Task]]:
    """Run tasks one after the other; return the CPU time of each process a task, and the tasks."""
    plugins = [text for name in ("points.py", "agents.py") for text in ("--plugin", str(_HERE / name))]
    process = CoordinatorProcess(directory / "data", plugins, program=(sys.executable, str(_HERE / "points.py")))
    try:
        with process.client() as client:
            _one_by_one(client, 20)
            host = client.status().hosts[0].pid
            zygotes = accounting.children(host)
            before = _cpu(process.pid, host, zygotes)
            tasks = _one_by_one(client, n)
            time.sleep(1)
            after = _cpu(process.pid, host, zygotes)
            tasks = [client.get(task.id) for task in tasks]
    finally:
        process.stop()
    roles = [
        {"stage": f"all of it, {role}", "process": role, "cpu_us": round((after[role] - before[role]) * 1e6 / n)}
        for role in after
    ]
    return roles, tasks


def _one_by_one(client: SyncClient, n: int) -> list[task_pb2.Task]:
    return [client.wait(client.submit("noop").id) for _ in range(n)]


def _cpu(coordinator: int, host: int, zygotes: list[int]) -> dict[str, float]:
    own = [accounting.cpu_of(pid) for pid in zygotes]
    return {
        "coordinator": accounting.cpu_of(coordinator)[0],
        "host": accounting.cpu_of(host)[0],
        "zygote": sum(one for one, _ in own),
        "worker": sum(reaped for _, reaped in own),
    }


def _read(points: Path) -> tuple[list[Passage], list[list[Passage]]]:
    """Return what the coordinator passed, and what each worker did."""
    files = [[Passage(*_parsed(line)) for line in path.read_text().splitlines()] for path in points.iterdir()]
    (coordinator,) = [passages for passages in files if passages[0].name != "forked"]
    return coordinator, [passages for passages in files if passages[0].name == "forked"]


def _parsed(line: str) -> tuple[str, int, int]:
    name, wall, cpu = line.split()
    return name, int(wall), int(cpu)


def _stage(
    name: str,
    process: str,
    start: str,
    end: str,
    about: str,
    *,
    coordinator: list[Passage],
    workers: list[list[Passage]],
) -> dict[str, object]:
    """Return the medians of a stage; one without a start begins with whatever came before its end."""
    wall, cpu = [], []
    for passages in workers if process == "worker" else [coordinator]:
        for before, after in _spans(passages, start, end):
            wall.append(after.wall_ns - before.wall_ns)
            cpu.append(after.cpu_ns - before.cpu_ns)
    line: dict[str, object] = {"stage": name, "process": process, "cpu_us": round(statistics.median(cpu) / 1000)}
    if start:
        line["wall_us"] = round(statistics.median(wall) / 1000)
    return {**line, "about": about}


def _spans(passages: list[Passage], start: str, end: str) -> Iterator[tuple[Passage, Passage]]:
    if not start:
        yield from ((before, after) for before, after in pairwise(passages) if after.name == end)
        return
    begun: Passage | None = None
    for passage in passages:
        if passage.name == start:
            begun = passage
        elif passage.name == end and begun:
            yield begun, passage
            begun = None


def _by_receipt(tasks: list[task_pb2.Task]) -> Iterator[dict[str, object]]:
    """Yield what the timestamps of tasks and receipts say."""
    spans: dict[str, list[int]] = defaultdict(list)
    for task in tasks:
        attempt = task.attempts[0]
        moments = {
            "task: accepted to launched": (task.create_time, attempt.launch_time),
            "task: launched to forked": (attempt.launch_time, attempt.receipt.fork_time),
            "task: forked to started": (attempt.receipt.fork_time, attempt.start_time),
            "task: started to ended": (attempt.start_time, attempt.end_time),
            "task: ended to exited": (attempt.end_time, attempt.receipt.exit_time),
            "task: exited to tree empty": (attempt.receipt.exit_time, attempt.receipt.empty_time),
        }
        for name, (start, end) in moments.items():
            spans[name].append(end.ToNanoseconds() - start.ToNanoseconds())
    for name, values in spans.items():
        yield {"stage": name, "wall_us": round(statistics.median(values) / 1000)}


def _show(lines: list[dict[str, object]]) -> None:
    for line in lines:
        figures = "".join(f"{line.get(key, ''):>9}" for key in ("wall_us", "cpu_us"))
        sys.stderr.write(f"{line['stage']:<28}{line.get('process', ''):<12}{figures}  {line.get('about', '')}\n")
    sys.stderr.write(f"{'':<40}{'wall us':>9}{'cpu us':>9}\n")
