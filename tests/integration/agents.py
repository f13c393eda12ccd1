"""Behaviours of the integration tests: good ones, and every kind of bad one."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from hundredfold import Context, SyncContext, behaviour
from hundredfold.errors import HundredfoldError


@behaviour
async def greet(ctx: Context, name: str) -> dict[str, Any]:
    """Greet somebody."""
    ctx.emit({"greeting": name})
    return {"text": f"hello {name}", "pid": os.getpid(), "attempt": ctx.attempt}


@behaviour
def square(number: int) -> int:
    """Square a number, without a context."""
    return number * number


@behaviour
def nap(seconds: float) -> int:
    """Sleep, and say which process did."""
    time.sleep(seconds)
    return os.getpid()


@behaviour
def hold(path: str) -> int:
    """Wait until a file is there."""
    while not Path(path).exists():
        time.sleep(0.02)
    return os.getpid()


@behaviour
def end(how: str) -> Any:
    """End in one of many ways."""
    print("some output")
    print("last words", file=sys.stderr)
    endings = {
        "raise": lambda: 1 / 0,
        "sys.exit": lambda: sys.exit(0),
        "os._exit": lambda: os._exit(0),
        "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "SIGSEGV": lambda: os.kill(os.getpid(), signal.SIGSEGV),
        "large": lambda: "x" * (5 << 20),
        "not-json": object,
    }
    return endings[how]()


@behaviour
async def tidy(ctx: Context, path: str) -> None:
    """Sleep for long; tidy up when cancelled."""
    try:
        ctx.emit("ready")
        await asyncio.sleep(60)
    finally:
        Path(path).write_text("tidied")


@behaviour
def tidy_sync(ctx: SyncContext, path: str, seconds: float = 60) -> None:
    """Sleep for long; tidy up when cancelled."""
    try:
        ctx.emit("ready")
        time.sleep(seconds)
    finally:
        Path(path).write_text("tidied")


@behaviour
def stubborn(ctx: SyncContext) -> None:
    """Do not listen to SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ctx.emit("ready")
    time.sleep(60)


_DAEMON = """
import os, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
print(os.getpid(), flush=True)
time.sleep(60)
"""


@behaviour
def leave_children(how: str) -> list[int]:
    """Leave processes behind."""
    if how == "child":
        return [subprocess.Popen(["/bin/sleep", "60"]).pid]
    if how == "session":
        return [subprocess.Popen(["/bin/sleep", "60"], start_new_session=True).pid]
    daemon = subprocess.Popen([sys.executable, "-c", _DAEMON], stdout=subprocess.PIPE)
    assert daemon.stdout
    return [int(daemon.stdout.readline())]


@behaviour
def write_much(megabytes: int) -> None:
    """Write a lot to both streams."""
    for _ in range(megabytes * 16):
        sys.stdout.write("o" * 65535 + "\n")
    sys.stderr.write("the end\n")


@behaviour
async def remember(ctx: Context, text: str, fail: bool = False, pause: float = 0) -> dict[str, Any]:  # noqa: FBT001, FBT002
    """Append to the session and count in its state."""
    before = [item.content for item in await ctx.session.items()]
    ctx.session.append("user", text)
    ctx.session.state["count"] = ctx.session.state.get("count", 0) + 1
    await asyncio.sleep(pause)
    if fail:
        raise RuntimeError("after writing")
    return {"before": before, "count": ctx.session.state["count"], "version": ctx.session.version}


@behaviour
async def browse(ctx: Context, query: str) -> dict[str, Any]:
    """Look through a session."""
    newest = (await ctx.session.items(last=1))[0].content
    everything = await ctx.session.items()
    found = await ctx.session.search(query, 2)
    return {
        "newest": newest,
        "all": len(everything),
        "oldest": everything[0].content,
        "found": [item.content for item in found],
    }


@behaviour
def learn(ctx: SyncContext, collection: str, text: str, fail: bool = False) -> list[str]:  # noqa: FBT001, FBT002
    """Say what is known that is like a text, and remember it."""
    memory = ctx.memory(collection)
    found = [match.content for match in memory.search(text, 2)]
    memory.upsert(text, text, metadata={"length": len(text)})
    if fail:
        raise RuntimeError("after writing")
    return found


@behaviour
def misremember(ctx: SyncContext, collection: str, figures: int) -> None:
    """Append to the session, and remember what does not fit its collection if there are too many figures."""
    ctx.session.append("user", "said")
    ctx.memory(collection).upsert("x", [1.0] * figures, "known")


@behaviour
def nearest(ctx: SyncContext, collection: str, vector: list[float]) -> list[str]:
    """Return the ids of the records nearest to a vector."""
    return [match.id for match in ctx.memory(collection).search(vector, 2)]


@behaviour
def force(ctx: SyncContext, collection: str, figures: list[float]) -> str:
    """Try to remember a vector; say what is wrong with it."""
    try:
        ctx.memory(collection).upsert("a", figures)
    except HundredfoldError as error:
        return str(error)
    return "it fits"


@behaviour
def note(ctx: SyncContext, text: str, merge: bool, pause: float = 0.2) -> None:  # noqa: FBT001
    """Append to the session, a moment after it was read."""
    ctx.session.append("user", text)
    ctx.session.merge = merge
    time.sleep(pause)


@behaviour
def chatter(ctx: SyncContext, events: int, pause: float = 0) -> int:
    """Emit many events."""
    for number in range(events):
        ctx.emit(number)
        time.sleep(pause)
    return events


@behaviour
async def save(ctx: Context, value: Any) -> Any:
    """Save a checkpoint, and say what was saved before."""
    await ctx.checkpoint(value)
    return ctx.saved


@behaviour
def look_around() -> dict[str, Any]:
    """Say what a worker can see of itself."""
    return {
        "environ": dict(os.environ),
        "argv": Path("/proc/self/cmdline").read_text(),
        "descriptors": sorted(os.listdir("/proc/self/fd")),
        "session": os.getsid(0) == os.getpid(),
        "core": __import__("resource").getrlimit(__import__("resource").RLIMIT_CORE)[0],
        "cpus": len(os.sched_getaffinity(0)),
        "oom": Path("/proc/self/oom_score_adj").read_text().strip(),
    }


@behaviour
def close_everything() -> str:
    """Close every descriptor there is, the connection to the coordinator included."""
    os.closerange(0, 4096)
    return "done all the same"


@behaviour
def take_streams_away() -> int:
    """Leave nothing to write to."""
    sys.stdout = sys.stderr = None  # type: ignore[assignment]  # that is the point
    return 1


@behaviour
def no_number() -> list[float]:
    """Return what JSON has no word for."""
    return [1.0, float("nan")]


@behaviour
def add_up(numbers: list[int]) -> int:
    """Add numbers."""
    return sum(numbers)


@behaviour
def family(path: str) -> None:
    """Start a child in a session of its own, say its pid, and wait."""
    child = subprocess.Popen(["/bin/sleep", "60"], start_new_session=True)
    Path(path).write_text(str(child.pid))
    time.sleep(60)


@behaviour
def speak_and_nap() -> None:
    """Say something on both streams, and sleep."""
    sys.stdout.write("to stdout\n")
    sys.stderr.write("to stderr\n")
    time.sleep(60)


@behaviour
def spin() -> None:
    """Use a CPU without end."""
    while True:
        pass


@behaviour
def open_many(number: int) -> int:
    """Open files; return how many there were when the machine said no."""
    opened = []
    try:
        for _ in range(number):
            opened.append(os.open("/dev/null", os.O_RDONLY))  # noqa: PERF401  # how far it comes is what counts
    except OSError:
        pass
    found = len(opened)
    for descriptor in opened:
        os.close(descriptor)
    return found
