"""The processes of a coordinator, and what they use just now: proc(5), clock_getcpuclockid(3)."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import psutil
from hundredfold import Client

_SCHEDULER_CLOCK: Final = 2
"""That of a process, as the scheduler counts it; the low bits of a clock's number say which one is meant."""

ROLES: Final = ("coordinator", "host", "zygote")


@dataclass(frozen=True, slots=True)
class Family:
    """A coordinator, its host and its zygote; the agents are children of that."""

    processes: Mapping[str, psutil.Process]

    @classmethod
    async def of(cls, client: Client) -> "Family":
        """Find them; its environments are ready then."""
        await client.behaviours()
        status = await client.status()
        host = psutil.Process(status.hosts[0].pid)
        zygote = host.children()[0]  # no worker exists yet, and there is one environment
        return cls(dict(zip(ROLES, (psutil.Process(status.pid), host, zygote), strict=True)))

    def cpu_seconds(self) -> dict[str, float]:
        """Return the CPU time that each has used itself, to the nanosecond."""
        return {role: _cpu_seconds(process.pid) for role, process in self.processes.items()}

    def pss_bytes(self) -> dict[str, int]:
        """Return the proportional set size of each: shared pages count once."""
        return {role: process.memory_full_info().pss for role, process in self.processes.items()}

    def descriptors(self) -> dict[str, int]:
        """Return how many descriptors each has open."""
        return {role: process.num_fds() for role, process in self.processes.items()}

    def most_descriptors(self) -> dict[str, int]:
        """Return how many each may have open; it has raised its limit as far as it can."""
        limits = {role: process.rlimit(psutil.RLIMIT_NOFILE)[0] for role, process in self.processes.items()}
        return {role: limit for role, limit in limits.items() if limit >= 0}

    def threads(self) -> int:
        """Return how many threads all of them and all agents have: each counts as a process where those are limited."""
        coordinator = self.processes["coordinator"]
        total = 0
        for process in (coordinator, *coordinator.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += process.num_threads()
        return total


def _cpu_seconds(pid: int) -> float:
    return time.clock_gettime(~pid << 3 | _SCHEDULER_CLOCK)
