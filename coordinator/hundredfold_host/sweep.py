"""Makes sure that nothing of a dead attempt's process tree is left.

Every worker is a subreaper, so as long as it lives its descendants are below it, however they daemonise. When it ends
they become children of the host: a child of the host that is neither a zygote nor a worker belongs to a dead attempt.
"""

import contextlib
import os
import signal
from collections.abc import Collection

from hundredfold_host import proc
from hundredfold_host.worker import Worker


def kill_strays(known: Collection[int], ended: list[Worker]) -> int:
    """Kill and reap what dead attempts left behind; return how many processes were still there to kill.

    Call it again until it returns 0: a process that was killed may have left children of its own.

    Args:
        known: pids of zygotes and of workers that are not reaped yet.
        ended: workers that have just ended; what is in one's session is counted as its.

    """
    alive: set[int] = set()
    while strays := proc.children_of_this_process() - set(known) - alive:
        gone = {pid for pid in strays if _reap(pid)}
        for pid in strays - gone:
            _kill(pid, ended)
        alive |= strays - gone
        if not gone:  # what was reaped may have left children, which are this process's by now
            break
    return len(alive)


def _reap(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        return bool(os.waitpid(pid, os.WNOHANG)[0])
    return False


def _kill(pid: int, ended: list[Worker]) -> None:
    stat = proc.read_stat(pid)
    # One that may not be killed, having changed its user, is a survivor, and the receipt says so.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)  # it is an unreaped child of this very process, so the pid is no stranger's
    owner = next((w for w in ended if stat and w.pid == stat.session), ended[0] if len(ended) == 1 else None)
    if owner:
        owner.leftovers.add(pid)
