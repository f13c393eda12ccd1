"""Measures the process tree of every attempt, with psutil, at a bounded cost of its own.

One scan of /proc serves all trees. Proportional set sizes cost about 0.3 ms a process, so they are taken in rotation,
as many per sweep as the budget allows; a sweep that was expensive makes the next one come later. Limits that nothing
else holds are held here, as soon as an attempt is seen above one.
"""

import contextlib
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final

import psutil
from hundredfold.internal.v1 import host_service_pb2
from hundredfold.v1 import attempt_pb2

from hundredfold_host import proc
from hundredfold_host.worker import AttemptId, Worker

_BUDGET: Final = 0.01
"""Share of one core that measuring attempts may use."""

_LIMIT_BUDGET: Final = 0.02
"""The same, while there are limits that nothing holds but looking: there it must be looked more often."""

_PSS_SECONDS: Final = 0.005
"""Time for proportional set sizes in one sweep, in seconds."""


class Monitor:
    """Samples `workers`; `interval_seconds` is the shortest time between two sweeps."""

    def __init__(self, workers: Mapping[AttemptId, Worker], interval_seconds: float) -> None:
        self._workers = workers
        self._interval = interval_seconds
        self._limited: deque[AttemptId] = deque()
        self._rotation: deque[AttemptId] = deque()

    def sweep(self) -> tuple[list[host_service_pb2.AttemptUsage], float]:
        """Return what was measured, and the seconds to wait before the next sweep."""
        begin = time.thread_time()
        usages = self._measure_workers() if self._workers else []
        cost = time.thread_time() - begin
        return usages, max(self._interval, cost / (_LIMIT_BUDGET if self._holds_limits() else _BUDGET))

    def _holds_limits(self) -> bool:
        groups = (worker.group for worker in self._workers.values())
        return any(attempt_pb2.ENFORCER_POLLING in (one.memory_enforcer, one.process_enforcer) for one in groups)

    def _measure_workers(self) -> list[host_service_pb2.AttemptUsage]:
        processes = proc.scan()
        children = proc.families(processes)
        trees = {key: list(proc.tree(worker.pid, children)) for key, worker in self._workers.items()}
        for key, pids in trees.items():
            alive = [processes[pid] for pid in pids if pid in processes]
            use = self._workers[key].use
            use.processes = len(pids)
            use.most_processes = max(use.most_processes, use.processes)
            use.threads = sum(stat.threads for stat in alive)
            before, use.cpu_seconds = use.cpu_seconds, sum(stat.cpu_seconds for stat in alive)
            if use.cpu_seconds > before:  # who does nothing waits for no CPU
                waited = sum(proc.cpu_wait_seconds(stat.pid) for stat in alive)
                use.cpu_wait_seconds = max(use.cpu_wait_seconds, waited)
            self._note_startup(self._workers[key])
            self._workers[key].enforce_processes()
            self._workers[key].enforce_use()
        return [self._report(key) for key in self._measure_memory(trees)]

    def _note_startup(self, worker: Worker) -> None:
        age = (time.monotonic_ns() - worker.forked.monotonic_ns) / 1e9
        if age >= 1 and worker.use.startup_cpu_seconds is None:
            worker.use.startup_cpu_seconds = worker.use.cpu_seconds / age
            worker.use.startup_wait_seconds = worker.use.cpu_wait_seconds

    def _measure_memory(self, trees: Mapping[AttemptId, list[int]]) -> list[AttemptId]:
        """Take as many workers as there is time for, those first whose limit nothing else holds; return them."""
        known = {*self._limited, *self._rotation}
        for key in [key for key in trees if key not in known]:
            polled = self._workers[key].group.memory_enforcer == attempt_pb2.ENFORCER_POLLING
            (self._limited if polled else self._rotation).appendleft(key)
        end = time.perf_counter() + _PSS_SECONDS
        return [*self._take(self._limited, trees, end), *self._take(self._rotation, trees, end)]

    def _take(
        self, rotation: deque[AttemptId], trees: Mapping[AttemptId, list[int]], end: float
    ) -> Iterator[AttemptId]:
        """Measure those whose turn it is, at least one, until the time is over."""
        for _ in range(len(rotation)):
            key = rotation.popleft()
            if key in trees:
                rotation.append(key)
                self._workers[key].use.descriptors = sum(map(proc.descriptors_of, trees[key]))
                self._note_memory(self._workers[key], sum(map(pss, trees[key])))
                yield key
            if time.perf_counter() > end:
                break

    def _note_memory(self, worker: Worker, pss_bytes: int) -> None:
        if pss_bytes:
            worker.use.samples += 1
            worker.use.pss_bytes = pss_bytes
            worker.use.peak_pss_bytes = max(worker.use.peak_pss_bytes, pss_bytes)
        worker.enforce_memory()

    def _report(self, key: AttemptId) -> host_service_pb2.AttemptUsage:
        worker = self._workers[key]
        report = host_service_pb2.AttemptUsage(
            attempt=worker.key,
            pss_bytes=worker.use.pss_bytes,
            processes=worker.use.processes,
            threads=worker.use.threads,
            descriptors=worker.use.descriptors,
        )
        report.cpu_time.FromNanoseconds(int(worker.use.cpu_seconds * 1e9))
        return report


def pss(pid: int) -> int:
    """Return the proportional set size of a process in bytes; 0 if it is gone or not ours to see."""
    with contextlib.suppress(psutil.Error):
        return int(psutil.Process(pid).memory_full_info().pss)
    return 0
