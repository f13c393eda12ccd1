"""Pressure that is not ours: a process outside the daemon's cgroup that thrashes, and what agents notice of it."""

import contextlib
import mmap
import multiprocessing
import os
import random
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from hundredfold import Submission, SyncClient
from hundredfold.v1 import task_pb2
from measures import coordinator
from memory import MemoryCgroup

_AGENTS: Final = Path(__file__).with_name("agents.py")
_ROOM: Final = 64 << 20
_WANTED: Final = 96 << 20
_STRANGERS: Final = 4
_WARM_UP_SECONDS: Final = 3.0
_PRESSURE: Final = Path("/proc/pressure/memory")
_LOOKS_A_SECOND: Final = 10
_SUCCEEDED: Final = task_pb2.TASK_STATE_SUCCEEDED
_STALLED: Final = 0.1
"""What share of a second all must stall for the measurement to mean anything; the gate closes at as much."""


@dataclass(slots=True)
class Seen:
    """What was seen while a run lasted: at which gates tasks waited, and the most that all stalled in a second."""

    gates: set[str] = field(default_factory=set)
    stalled_share: float = 0.0


def stranger(directory: Path, n: int = 200) -> dict[str, Any]:
    """Run `n` agents of half a second, calm and beside a stranger that stalls for memory; count refusals and waits."""
    with coordinator(directory, _AGENTS) as process, process.client() as client:
        for _ in range(2):  # the first run teaches what they need
            calm = _run(client, n)
        with _thrashing(directory / "file"):
            beside = _run(client, n)
    if beside["stalled_share"] < _STALLED:
        problem = f"the stranger stalled for {beside['stalled_share']:.1%} of a second at most: nothing was measured"
        raise RuntimeError(problem)
    ratio = round(beside["makespan_s"] / calm["makespan_s"], 3)
    return {"n": n, "calm": calm, "beside": beside, "makespan_ratio": ratio}


def _run(client: SyncClient, n: int) -> dict[str, Any]:
    seen, over = Seen(), threading.Event()
    looking = threading.Thread(target=_look, args=(client, over, seen))
    looking.start()
    began = time.monotonic()
    answers = client.submit_many([Submission("nap", {"seconds": 0.5})] * n)
    ids = [one.id for one in answers if isinstance(one, task_pb2.Task)]
    ended = list(client.as_ended(ids, timeout_seconds=300))
    makespan = time.monotonic() - began
    over.set()
    looking.join()
    return {
        "makespan_s": round(makespan, 2),
        "refused": n - len(ids),
        "succeeded_at_once": sum(task.state == _SUCCEEDED and len(task.attempts) == 1 for task in ended),
        "gates_seen": sorted(seen.gates),
        "stalled_share": round(seen.stalled_share, 3),
    }


def _look(client: SyncClient, over: threading.Event, seen: Seen) -> None:
    last: deque[int] = deque([_stalled()], maxlen=_LOOKS_A_SECOND + 1)
    while not over.wait(1 / _LOOKS_A_SECOND):
        last.append(_stalled())
        seen.stalled_share = max(seen.stalled_share, (last[-1] - last[0]) / 1e6)
        for task in islice(client.list(states=[task_pb2.TASK_STATE_QUEUED]), 1):
            seen.gates.add(task_pb2.GateKind.Name(task.gate.kind).removeprefix("GATE_KIND_"))


@contextlib.contextmanager
def _thrashing(path: Path) -> Iterator[None]:
    """Have processes read all over a file that does not fit into the memory they may use together."""
    with path.open("wb") as file:
        file.write(os.urandom(1 << 20) * (_WANTED >> 20))
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # or it would be in our memory, not in theirs
    cgroup = MemoryCgroup(_ROOM)
    processes = [multiprocessing.get_context("spawn").Process(target=_thrash, args=(path,)) for _ in range(_STRANGERS)]
    for process in processes:
        process.start()
    cgroup.leave()  # the strangers stay
    try:
        time.sleep(_WARM_UP_SECONDS)
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()
        cgroup.leave()


def _thrash(path: Path) -> None:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as pages:
        while True:
            pages[random.randrange(0, len(pages))]


def _stalled() -> int:
    """Return for how many microseconds all that ran on this machine has stalled for memory."""
    (full,) = [line for line in _PRESSURE.read_text().splitlines() if line.startswith("full")]
    return int(full.rsplit("total=", 1)[1])
