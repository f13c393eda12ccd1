"""Behaviours of the fault tests: ordinary ones that keep count of what they did, and some that are not ordinary."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from hundredfold import Context, NonRetryable, SyncContext, behaviour


@behaviour
def count(ledger: str, name: str, seconds: float = 0.0) -> str:
    """Note that this ran, take its time, and return its name."""
    _note(ledger, name)
    time.sleep(seconds)
    return name


@behaviour
async def remember(ctx: Context, ledger: str, name: str) -> int:
    """Append the name to the session; return how many there were before."""
    _note(ledger, name)
    before = len(await ctx.session.items())
    ctx.session.append("agent", name)
    ctx.emit({"remembered": name})
    return before


@behaviour
def stumble(ctx: SyncContext, ledger: str, name: str) -> int:
    """Die in the first attempt, succeed in the second."""
    _note(ledger, name)
    if ctx.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return ctx.attempt


@behaviour
def resume(ctx: SyncContext, ledger: str, name: str) -> int:
    """Save a checkpoint, say so, and die; in a later attempt return what was saved."""
    if ctx.saved is None:
        ctx.checkpoint(ctx.attempt)
        _note(ledger, f"{name}-saved")
        os.kill(os.getpid(), signal.SIGKILL)
    return ctx.saved


@behaviour
def linger(ledger: str, name: str) -> None:
    """Never end by itself."""
    _note(ledger, name)
    while True:
        time.sleep(60)


@behaviour
def mend(ledger: str, name: str) -> str:
    """Fail for good, until somebody has put a file beside the ledger that has this name."""
    _note(ledger, name)
    if not Path(ledger).with_name(name).exists():
        raise NonRetryable(name)
    return name


@behaviour
def hold(path: str) -> int:
    """Wait until a file is there; return this process's pid."""
    while not Path(path).exists():
        time.sleep(0.02)
    return os.getpid()


@behaviour
def hold_attempt(ctx: SyncContext, path: str) -> int:
    """Wait until there is a file for this very attempt; return its number."""
    while not Path(f"{path}-{ctx.attempt}").exists():
        time.sleep(0.02)
    return ctx.attempt


@behaviour
def kill_parent(levels: int) -> Any:
    """Kill an ancestor, and itself: 1 is the zygote, 2 the host."""
    pid = os.getpid()
    for _ in range(levels):
        pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)


def _note(ledger: str, name: str) -> None:
    descriptor = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{name} {os.getpid()}\n".encode())
    os.close(descriptor)
