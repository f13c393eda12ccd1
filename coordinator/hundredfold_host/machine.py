"""Samples of the machine: what is free, how fast that is used up, and what must never be given away."""

import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psutil
from hundredfold.v1 import coordinator_service_pb2 as pb

from hundredfold_host.memory import MemoryCgroup, fault_rate
from hundredfold_host.pressure import PressureMonitor

SAMPLE_SECONDS: Final = 0.05
CALM_SECONDS: Final = 0.5
"""How often it is looked while nothing could use up what is free in twice that time."""
REACTION_SECONDS: Final = 0.1
"""From the moment that memory runs short until something is ended for it: a sample and a kill. What could be used up
meanwhile is never given away."""
_GROWTH_SECONDS: Final = 0.25
_SLOW_SECONDS: Final = 0.5
"""What costs more, and changes less, is looked at only so often."""
_LARGEST_SHARE: Final = 0.25
_MOVED_SHARE: Final = 0.002


class MachineMonitor:
    """Samples this machine, as far as this process may use it: `own` are its cgroups.

    Attributes:
        headroom_bytes: what could be used up within the time of reaction, and at least `reserve_bytes`, but no more
            than a quarter of everything; 0 if memory is not looked at, because `reserve_bytes` is 0.

    """

    def __init__(self, own: Mapping[str, Path], reserve_bytes: int) -> None:
        total = psutil.virtual_memory().total
        self._cgroup = MemoryCgroup(own, total)
        self._pressure = PressureMonitor(own)
        self._free: deque[tuple[float, int]] = deque()
        self._slow = pb.Machine(cpu_count=psutil.cpu_count() or 1)
        self._slow_at = float("-inf")
        usable = self._cgroup.limit_bytes or total
        self._fault_rate = fault_rate()
        needed = max(reserve_bytes, int(self._fault_rate * REACTION_SECONDS)) if reserve_bytes else 0
        self.headroom_bytes = min(needed, int(usable * _LARGEST_SHARE))
        psutil.cpu_percent()  # the first call only remembers where to count from

    def sample(self) -> pb.Machine:
        """Return what there is now."""
        now = time.monotonic()
        if now - self._slow_at >= _SLOW_SECONDS:
            self._slow_at = now
            self._look_slowly()
        machine = pb.Machine()
        machine.CopyFrom(self._slow)
        memory = psutil.virtual_memory()
        free = memory.available
        if self._cgroup.limit_bytes:
            free = min(free, self._cgroup.free_bytes())
        machine.memory_total_bytes, machine.memory_available_bytes = memory.total, memory.available
        machine.memory_limit_bytes, machine.headroom_bytes = self._cgroup.limit_bytes, self.headroom_bytes
        machine.memory_free_bytes = free
        machine.memory_growth_bytes = self._growth(now, free)
        machine.time.GetCurrentTime()
        return machine

    def is_calm(self, machine: pb.Machine) -> bool:
        """Whether there is so much free that it need not be looked at as often as possible."""
        return machine.memory_free_bytes - self.headroom_bytes > 2 * CALM_SECONDS * self._fault_rate

    def _look_slowly(self) -> None:
        swap = psutil.swap_memory()
        self._slow.swap_total_bytes, self._slow.swap_used_bytes = swap.total, swap.used
        self._slow.cpu_percent = psutil.cpu_percent()
        self._slow.load = psutil.getloadavg()[0]
        self._slow.pressure.CopyFrom(self._pressure.sample())

    def _growth(self, now: float, free: int) -> int:
        """Return by how many bytes per second less is free, over the last quarter of a second."""
        while len(self._free) > 1 and now - self._free[1][0] >= _GROWTH_SECONDS:
            self._free.popleft()
        self._free.append((now, free))
        then, before = self._free[0]
        return max(0, int((before - free) / (now - then))) if now > then else 0


class News:
    """Decides which samples a coordinator is told of: those that change what may be started, and some of the others."""

    def __init__(self) -> None:
        self._told_at = float("-inf")
        self._free = 0
        self._workers = 0

    def is_worth_a_word(self, machine: pb.Machine, workers: int) -> bool:
        """Whether memory has moved, attempts have come, or nothing was said for a while."""
        moved = abs(machine.memory_free_bytes - self._free) > _MOVED_SHARE * machine.memory_total_bytes
        now = time.monotonic()
        if not moved and workers <= self._workers and now - self._told_at < CALM_SECONDS:
            self._workers = min(workers, self._workers)
            return False
        self._told_at, self._free, self._workers = now, machine.memory_free_bytes, workers
        return True
