"""Finds out which containment this machine gives this host, by trying.

What is not there or not allowed is no error: ordinary users of ordinary machines have no cgroups of their own, and
their receipts say so.
"""

import os
import signal
from typing import Final

from hundredfold.v1 import attempt_pb2, policy_pb2

from hundredfold_host.containment.cgroup_v1 import CgroupV1
from hundredfold_host.containment.cgroup_v2 import CgroupV2
from hundredfold_host.containment.contract import Containment
from hundredfold_host.containment.hierarchies import own_cgroups
from hundredfold_host.containment.session import Session

_LIMITS: Final = policy_pb2.Limits(processes=10, memory_bytes=64 << 20)


def choose(host_id: str) -> Containment:
    """Return the best containment that works here. Call it before this process has threads: it forks once."""
    own = own_cgroups()
    for kind in (CgroupV2, CgroupV1):
        try:
            containment = kind.open(own, host_id)
        except OSError:
            continue
        if _works(containment):
            return containment
        containment.close()
    return Session()


def _works(containment: Containment) -> bool:
    """Put a process into a group, and kill it there."""
    group = containment.make(_LIMITS)
    if group.kind == attempt_pb2.CONTAINMENT_SESSION:
        return False
    try:
        files = group.join_files(threads=False)
        pid = _fork_into(files)
        killed = pid in group.kill()
        if not killed:
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return killed and not group.kill()
    except OSError:
        return False
    finally:
        group.release()


def _fork_into(files: list[int]) -> int:
    """Fork a child that joins a group and waits; return its pid when it has, or has failed to."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            for file in files:
                os.write(file, b"0")
            os.close(writer)
            signal.pause()
        finally:
            os._exit(1)
    os.close(writer)
    for file in files:
        os.close(file)
    os.read(reader, 1)  # until the child closes its end
    os.close(reader)
    return pid
