"""Containment by a cgroup of version 2, which has a call that kills everything in it.

A cgroup of version 2 that holds processes can have no limited children, so the place for attempts is beside the
daemon's own cgroup. Only a parent that was delegated is taken for that: a unit of systemd with `Delegate=yes` and
`DelegateSubgroup=`, or the root. Elsewhere the attempts would leave the unit that was started, and outlive its end.
"""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from hundredfold.v1 import attempt_pb2, policy_pb2

from hundredfold_host.containment.cgroup import Cgroup
from hundredfold_host.containment.contract import Group
from hundredfold_host.containment.hierarchies import UNIFIED
from hundredfold_host.containment.home import Home
from hundredfold_host.containment.session import SessionGroup

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_CONTROLLERS: Final = "+pids +memory"
_DELEGATED: Final = ("user.delegate", "trusted.delegate")
"""What systemd marks a delegated cgroup with, see its CGROUP_DELEGATION.md."""


class CgroupV2:
    """Makes groups in a place of its own."""

    def __init__(self, home: Home) -> None:
        self._home = home

    @classmethod
    def open(cls, own: Mapping[str, Path], host_id: str) -> Self:
        """Make a place of its own beside this process's cgroup.

        Raises:
            OSError: this process may not, or a controller is not there.

        """
        base = _delegated_base(own)
        Cgroup(base).write("cgroup.subtree_control", _CONTROLLERS)
        home = Home(base, host_id)
        try:
            Cgroup(home.path).write("cgroup.subtree_control", _CONTROLLERS)
        except OSError:
            home.close()
            raise
        return cls(home)

    def make(self, limits: policy_pb2.Limits) -> Group:
        """See `Containment`."""
        try:
            return CgroupV2Group(self._home, limits)
        except OSError:
            return SessionGroup(limits)

    def close(self) -> None:
        """See `Containment`."""
        self._home.close()


class CgroupV2Group:
    """The cgroup of one attempt.

    Raises:
        OSError: it cannot be made, or does not take the limits.

    """

    def __init__(self, home: Home, limits: policy_pb2.Limits) -> None:
        self.kind = attempt_pb2.CONTAINMENT_CGROUP_V2
        self.limits = limits
        self._home = home
        self._cgroup = home.take()
        self._cgroup.limit_processes(limits.processes)
        self.process_enforcer = attempt_pb2.ENFORCER_CGROUP if limits.processes else attempt_pb2.ENFORCER_UNSPECIFIED
        self.memory_enforcer = attempt_pb2.ENFORCER_UNSPECIFIED
        if limits.memory_bytes:
            self._limit_memory(limits.memory_bytes)

    def join_files(self, *, threads: bool) -> list[int]:  # noqa: ARG002  # version 2 moves whole processes only
        """See `Group`."""
        return [self._cgroup.open("cgroup.procs")]

    def kill(self) -> set[int]:
        """See `Group`."""
        if self._cgroup.empty:
            return set()
        found = self._cgroup.members()
        if found:
            self._cgroup.write("cgroup.kill", "1")
        return found

    def memory_kills(self) -> int:
        """See `Group`."""
        return self._cgroup.count("memory.events", b"oom_kill")

    def release(self) -> None:
        """See `Group`."""
        if self.limits.memory_bytes:  # never used again: what it read from files is still charged to it
            self._cgroup.remove()
        elif self._cgroup.empty:
            self._home.give_back(self._cgroup)

    def _limit_memory(self, limit: int) -> None:
        limit -= limit % _PAGE
        self._cgroup.write("memory.max", str(limit))
        self._cgroup.write("memory.oom.group", "1")  # one attempt ends as a whole
        with contextlib.suppress(FileNotFoundError):  # a kernel without swap
            self._cgroup.write("memory.swap.max", "0")
        self.limits = policy_pb2.Limits(processes=self.limits.processes, memory_bytes=limit)
        self.memory_enforcer = attempt_pb2.ENFORCER_CGROUP


def _delegated_base(own: Mapping[str, Path]) -> Path:
    if UNIFIED not in own:
        raise FileNotFoundError("no hierarchy of version 2 is mounted")
    cgroup = own[UNIFIED]
    if not Cgroup(cgroup).has("cgroup.type"):
        return cgroup  # the root, where alone processes and limited children may be together
    for attribute in _DELEGATED:
        with contextlib.suppress(OSError):
            if os.getxattr(cgroup.parent, attribute) == b"1":
                return cgroup.parent
    raise PermissionError("its parent was not delegated")
