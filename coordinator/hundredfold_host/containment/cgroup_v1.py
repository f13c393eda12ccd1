"""Containment by cgroups of version 1: one of the `pids` hierarchy, and one of `memory` if its limit is asked for.

There is no call that kills a whole cgroup, so its forks are stopped first (`pids.max` of 0) and its members killed
then, again until it is empty.
"""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from hundredfold.v1 import attempt_pb2, policy_pb2

from hundredfold_host.containment.cgroup import Cgroup
from hundredfold_host.containment.contract import Group
from hundredfold_host.containment.home import Home
from hundredfold_host.containment.session import SessionGroup, polling

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class CgroupV1:
    """Makes groups in the hierarchies that are given; without the one of `memory`, the monitor holds its limit."""

    def __init__(self, pids: Home, memory: Home | None) -> None:
        self._pids = pids
        self._memory = memory

    @classmethod
    def open(cls, own: Mapping[str, Path], host_id: str) -> Self:
        """Make a place of its own below this process's cgroups.

        Raises:
            OSError: this process may not, or there is no hierarchy of `pids`.

        """
        if "pids" not in own:
            raise FileNotFoundError("no pids hierarchy of version 1 is mounted")
        pids = Home(own["pids"], host_id)
        memory = None
        with contextlib.suppress(OSError, KeyError):
            memory = Home(own["memory"], host_id)
        return cls(pids, memory)

    def make(self, limits: policy_pb2.Limits) -> Group:
        """See `Containment`."""
        try:
            return CgroupV1Group(self._pids, self._memory, limits)
        except OSError:
            return SessionGroup(limits)

    def close(self) -> None:
        """See `Containment`."""
        for home in (self._pids, self._memory):
            if home:
                home.close()


class CgroupV1Group:
    """The cgroups of one attempt.

    Raises:
        OSError: they cannot be made, or do not take the limits.

    """

    def __init__(self, pids: Home, memory: Home | None, limits: policy_pb2.Limits) -> None:
        self.kind = attempt_pb2.CONTAINMENT_CGROUP_V1
        self.limits = limits
        self._home = pids
        self._pids = pids.take()
        self._pids.limit_processes(limits.processes)
        self.process_enforcer = attempt_pb2.ENFORCER_CGROUP if limits.processes else attempt_pb2.ENFORCER_UNSPECIFIED
        self._memory: Cgroup | None = None
        self.memory_enforcer = polling(limits.memory_bytes)
        if memory and limits.memory_bytes:
            self._memory = memory.take()
            self._limit_memory(self._memory, limits.memory_bytes)

    def join_files(self, *, threads: bool) -> list[int]:
        """See `Group`."""
        # To write to `tasks` moves one thread, for which the kernel need not hold up every fork and exit of the
        # machine: 0.02 ms, where `cgroup.procs` takes up to 20 when nothing was moved just before.
        name = "cgroup.procs" if threads else "tasks"
        return [cgroup.open(name) for cgroup in (self._pids, self._memory) if cgroup]

    def kill(self) -> set[int]:
        """See `Group`."""
        if self._pids.empty:
            return set()
        with contextlib.suppress(OSError):
            self._pids.write("pids.max", "0")
        self._pids.process_limit = -1
        return self._pids.kill_members()

    def memory_kills(self) -> int:
        """See `Group`."""
        return self._memory.count("memory.oom_control", b"oom_kill") if self._memory else 0

    def release(self) -> None:
        """See `Group`."""
        if self._memory:  # never used again: what it read from files is still charged to it
            self._memory.remove()
        if self._pids.empty:
            self._home.give_back(self._pids)

    def _limit_memory(self, cgroup: Cgroup, limit: int) -> None:
        limit -= limit % _PAGE
        cgroup.write("memory.limit_in_bytes", str(limit))
        if cgroup.has("memory.memsw.limit_in_bytes"):
            cgroup.write("memory.memsw.limit_in_bytes", str(limit))
        self.limits = policy_pb2.Limits(processes=self.limits.processes, memory_bytes=limit)
        self.memory_enforcer = attempt_pb2.ENFORCER_CGROUP
