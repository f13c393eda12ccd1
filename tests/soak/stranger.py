"""Pressure that is not ours: a process outside the daemon's cgroup that thrashes, and what agents notice of it."""

import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from hundredfold import Submission, SyncClient
from hundredfold.errors import HundredfoldError
from hundredfold.v1 import task_pb2
from measures import coordinator
from memory import MemoryCgroup

_AGENTS: Final = Path(__file__).with_name("agents.py")
_ROOM: Final = 64 << 20
_WANTED: Final = 4 * _ROOM
_WARM_UP_SECONDS: Final = 3.0
_PRESSURE: Final = Path("/proc/pressure/memory")
_STALLED: Final = 0.1
"""What share of the time the stranger must stall for the measurement to mean anything; the gate closes at as much."""


def stranger(directory: Path, n: int = 200) -> dict[str, Any]:
    """Run `n` agents of half a second, calm and beside a stranger that stalls for memory; count refusals and waits."""
    figures: dict[str, Any] = {"n": n}
    with coordinator(directory, _AGENTS) as process, process.client() as client:
        for _ in range(2):  # the first run teaches what they need
            calm = _run(client, n)
        with _thrashing(directory / "file"):
            stalled = _stalled()
            beside = _run(client, n)
            figures["stalled_share"] = round((_stalled() - stalled) / 1e6 / beside["makespan_s"], 3)
    if figures["stalled_share"] < _STALLED:
        problem = f"the stranger stalled for {figures['stalled_share']:.1%} of the time only: nothing was measured"
        raise RuntimeError(problem)
    ratio = round(beside["makespan_s"] / calm["makespan_s"], 3)
    return {**figures, "calm": calm, "beside": beside, "makespan_ratio": ratio}


def _run(client: SyncClient, n: int) -> dict[str, Any]:
    gates: set[str] = set()
    over = threading.Event()
    looking = threading.Thread(target=_look, args=(client, over, gates))
    looking.start()
    began = time.monotonic()
    answers = client.submit_many([Submission("nap", {"seconds": 0.5})] * n)
    refused = [one for one in answers if isinstance(one, HundredfoldError)]
    ended = list(client.as_ended([one.id for one in answers if isinstance(one, task_pb2.Task)], timeout_seconds=300))
    makespan = time.monotonic() - began
    over.set()
    looking.join()
    return {
        "makespan_s": round(makespan, 2),
        "refused": len(refused),
        "succeeded_at_once": sum(
            task.state == task_pb2.TASK_STATE_SUCCEEDED and len(task.attempts) == 1 for task in ended
        ),
        "gates_seen": sorted(gates),
    }


def _look(client: SyncClient, over: threading.Event, gates: set[str]) -> None:
    """Note at which gates tasks wait."""
    while not over.wait(0.1):
        for task in islice(client.list(states=[task_pb2.TASK_STATE_QUEUED]), 1):
            gates.add(task_pb2.GateKind.Name(task.gate.kind).removeprefix("GATE_KIND_"))


@contextlib.contextmanager
def _thrashing(path: Path) -> Iterator[None]:
    """Have a process read a file round and round that does not fit into the memory it may use."""
    path.write_bytes(os.urandom(1 << 20) * (_WANTED >> 20))
    process = multiprocessing.get_context("fork").Process(target=_thrash, args=(path,), daemon=True)
    process.start()
    try:
        time.sleep(_WARM_UP_SECONDS)
        yield
    finally:
        process.kill()
        process.join()


def _thrash(path: Path) -> None:
    MemoryCgroup(_ROOM)
    with path.open("rb", buffering=0) as file:
        while True:
            file.seek(0)
            while file.read(1 << 20):
                pass


def _stalled() -> int:
    """Return for how many microseconds all that ran on this machine has stalled for memory."""
    (full,) = [line for line in _PRESSURE.read_text().splitlines() if line.startswith("full")]
    return int(full.rsplit("total=", 1)[1])
