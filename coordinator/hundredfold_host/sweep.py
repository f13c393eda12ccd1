"""Makes sure that nothing of a dead attempt's process tree is left.

Every worker is a subreaper, so as long as it lives its descendants are below it, however they daemonise. When it ends
they become children of the host: a child of the host that is neither a zygote nor a worker belongs to a dead attempt,
and so does everything below it. That is stopped before it is killed, so that it cannot fork away from under the sweep.
"""

import contextlib
import os
import signal
from collections.abc import Collection
from typing import Final

from hundredfold_host import proc
from hundredfold_host.worker import Worker

_LOOKS: Final = 20


def kill_strays(known: Collection[int], ended: list[Worker]) -> int:
    """Kill and reap what dead attempts left behind; return how many processes were still there to kill.

    Call it again until it returns 0: a process that was killed has to be reaped, and may have left children.

    Args:
        known: pids of zygotes and of workers that are not reaped yet.
        ended: workers that have just ended; what is in one's session is counted as its.

    """
    alive: set[int] = set()
    while strays := proc.children_of_this_process() - set(known) - alive:
        gone = {pid for pid in strays if _reap(pid)}
        alive |= strays - gone
        if not gone:  # what was reaped may have left children, which are this process's by now
            break
    killed = {pid for worker in ended for pid in worker.leftovers}
    if alive - killed:
        found = _stop_forest(known)
        for stat in found:
            _signal(stat, signal.SIGKILL)
            _count(stat, ended)
    return len(alive)


def _reap(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        return bool(os.waitpid(pid, os.WNOHANG)[0])
    return False


def _stop_forest(known: Collection[int]) -> list[proc.Stat]:
    """Stop all strays and what is below them, until nothing new appears; return them.

    Each is stopped before it is asked for its children: it will have no more of them, and one less is in the way.
    """
    found: dict[int, proc.Stat] = {}
    for _ in range(_LOOKS):
        before = len(found)
        pending = [(pid, os.getpid()) for pid in proc.children_of_this_process() - set(known)]
        while pending:
            pid, parent = pending.pop()
            stat = found.get(pid) or _stop(pid, parent)
            if stat:
                found[pid] = stat
                pending += [(child, pid) for child in proc.children_of(pid)]
        if len(found) == before:
            break
    return list(found.values())


def _stop(pid: int, parent: int) -> proc.Stat | None:
    """Stop a child of `parent`; return what it was, or None if it had ended, or has another parent by now."""
    stat = proc.read_stat(pid)
    if stat is None or stat.ended or stat.parent != parent:
        return None
    _signal(stat, signal.SIGSTOP)
    return stat


def _signal(stat: proc.Stat, number: signal.Signals) -> None:
    """Send a signal to exactly this process, if it is still there."""
    # One that may not be killed, having changed its user, is a survivor, and the receipt says so.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        descriptor = os.pidfd_open(stat.pid)
        try:
            now = proc.read_stat(stat.pid)
            if now and now.start_ticks == stat.start_ticks:
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def _count(stat: proc.Stat, ended: list[Worker]) -> None:
    owner = next((w for w in ended if w.pid == stat.session), ended[0] if len(ended) == 1 else None)
    if owner:
        owner.leftovers.add(stat.pid)
