"""The test build: the real program, with places where it dies and protections that can be switched off.

    python tests/faults/build.py [--crash POINT:N] [--trace FILE] [--strace FILE [--inject WHAT]] [--off PROTECTION]...
        [--patch MODULE:NAME=NUMBER]... [--clock FILE] -- serve ...

Nothing of this is in the program itself: the build wraps what it needs, then runs the ordinary command line.
"""

import argparse
import asyncio
import collections
import ctypes
import functools
import importlib
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from hundredfold_coordinator import cli, keys, performer
from hundredfold_coordinator.core import conclusion, effects, events, retry, running
from hundredfold_coordinator.journal import Journal
from hundredfold_coordinator.performer import Performer
from hundredfold_coordinator.services import host_service
from hundredfold_coordinator.storage import Storage

STORE_CALLS = "pwrite64,fdatasync,fsync,ftruncate,unlink"
"""System calls by which the store's thread changes files or syncs them."""

_PR_SET_PTRACER = 0x59616D61
_ANY = (1 << 64) - 1
_ARRIVAL_SECONDS = 0.3
"""How long an answer has until it arrives."""


class Points:
    """The named places the program passes: dies at the n-th passage of one, and may write them all down."""

    def __init__(self, crash: str, trace: TextIO | None) -> None:
        self._name, _, number = crash.partition(":")
        self._number = int(number or 0)
        self._passed: collections.Counter[str] = collections.Counter()
        self._trace = trace

    def __call__(self, name: str) -> None:
        """Pass a place."""
        dies = self.is_next(name)
        self._passed[name] += 1
        if self._trace:
            self._trace.write(f"{name}:{self._passed[name]}\n")
            self._trace.flush()
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)

    def is_next(self, name: str) -> bool:
        """Whether it dies when it passes this place."""
        return (name, self._passed[name] + 1) == (self._name, self._number)


def wrap(passing: Points) -> None:
    """Put places around every commit and every effect."""
    commit, perform = Storage.commit, Performer.perform

    @functools.wraps(commit)
    async def watched_commit(self: Storage, batches: Any) -> Any:
        passing("commit-before")
        results = await commit(self, batches)
        passing("commit-after")
        return results

    @functools.wraps(perform)
    def watched_perform(self: Performer, effect: effects.Effect) -> None:
        passing(f"{type(effect).__name__.lower()}-before")
        perform(self, effect)
        passing(f"{type(effect).__name__.lower()}-after")

    Storage.commit = watched_commit  # type: ignore[method-assign]
    Performer.perform = watched_perform  # type: ignore[method-assign]


def shift_clock(path: Path) -> None:
    """Let the wall clock be wrong by as many seconds as the file says at that moment; other clocks go on."""
    now, now_ns = time.time, time.time_ns

    def shift() -> int:
        return int(path.read_text() or 0)

    time.time = lambda: now() + shift()
    time.time_ns = lambda: now_ns() + shift() * 10**9


def answer_before_commit(passing: Points) -> None:
    """Let effects happen before what they follow from is durable, with a place after each answer."""
    questions: weakref.WeakKeyDictionary[object, str] = weakref.WeakKeyDictionary()
    ask = Journal.ask

    @functools.wraps(ask)
    def watched_ask(self: Journal, event: Any, **fields: Any) -> Any:
        reply = ask(self, event, **fields)
        questions[reply] = f"{event.__name__.lower()}-answered"
        return reply

    async def flush_group(self: Journal) -> None:
        group, self._pending = self._pending, []
        done = [effect for decision in group for effect in decision.effects]
        for effect in done:
            self._perform(effect)
        batches = [decision.batch for decision in group if decision.batch.writes]
        if batches:
            answered = [questions[one.to] for one in done if isinstance(one, effects.Reply) and one.to in questions]
            if any(map(passing.is_next, answered)):
                await asyncio.sleep(_ARRIVAL_SECONDS)
            for name in answered:
                passing(name)
            await self._commit(batches)

    assert hasattr(Journal, "_flush_group")
    Journal.ask = watched_ask  # type: ignore[method-assign]
    Journal._flush_group = flush_group  # type: ignore[method-assign]


def accept_anybody(_passing: Points) -> None:
    """Let an attempt deliver that has been given up."""

    def current(state: Any, attempt: tuple[str, int]) -> Any:
        record = state.tasks.get(attempt[0])
        return record if record and not record.result_digest else None

    running._current = current


def never_try_again(_passing: Points) -> None:
    """Give every task up with its first failure."""
    conclusion.retry = type(  # type: ignore[attr-defined]
        "NoRetry", (), {"judge": staticmethod(lambda *_: 1), "CAUSES": retry.CAUSES}
    )


def hear_no_launches(_passing: Points) -> None:
    """Never hear from a host which process it has started."""
    heard = host_service._numbered

    def numbered(host_id: str, report: Any, kind: str | None) -> Any:
        event = heard(host_id, report, kind)
        if isinstance(event, events.Launched):
            return events.HostHeard(now_ns=event.now_ns, host=host_id, silent=False)
        return event

    host_service._numbered = numbered


class WallAlarm:
    """An alarm that goes by the clock of the wall."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, callback: Callable[[], object]) -> None:
        self._loop, self._callback, self._due = loop, callback, time.time() + seconds
        self._look()

    def cancel(self) -> None:
        self._handle.cancel()

    def _look(self) -> None:
        if time.time() >= self._due:
            self._callback()
        else:
            self._handle = self._loop.call_later(0.05, self._look)


def go_by_the_wall(_passing: Points) -> None:
    """Let alarms go by a clock that can be set."""
    performer.Alarm = WallAlarm  # type: ignore[assignment, misc]


def forget_requests(_passing: Points) -> None:
    """Let every coordinator know only the request ids that it has seen itself."""
    request = keys.request
    keys.request = lambda request_id: request(f"{os.getpid()} {request_id}")


PROTECTIONS: dict[str, Callable[[Points], None]] = {
    "commit-first": answer_before_commit,
    "fence": accept_anybody,
    "launches": hear_no_launches,
    "monotonic": go_by_the_wall,
    "requests": forget_requests,
    "retry": never_try_again,
}


def trace_store(output: str, inject: str) -> None:
    """Have strace follow the store's thread from before its first call, and no other thread, nor any child."""
    work = Storage._work

    def traced_work(self: Storage) -> None:
        argv = [
            "/usr/bin/env",
            "strace",
            "-o",
            output,
            "-e",
            f"trace={STORE_CALLS}",
            "-p",
            str(threading.get_native_id()),
        ]
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(_ANY))  # where only parents may trace
        strace = subprocess.Popen([*argv, *(("-e", f"inject={inject}") if inject else ())], stderr=subprocess.PIPE)
        assert strace.stderr
        told = strace.stderr.readline()
        if not told.endswith(b"attached\n"):
            sys.stderr.buffer.write(told)
            os._exit(1)
        work(self)

    Storage._work = traced_work  # type: ignore[method-assign]


def main() -> None:
    """Become the program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--crash", default="")
    parser.add_argument("--trace", type=argparse.FileType("w"))
    parser.add_argument("--strace", metavar="FILE", help="where strace writes the calls of the store's thread to")
    parser.add_argument("--inject", default="", help="what strace does to one: CALL:signal=SIGKILL:when=N")
    parser.add_argument("--off", action="append", default=[], choices=sorted(PROTECTIONS))
    parser.add_argument("--patch", action="append", default=[], metavar="MODULE:NAME=NUMBER")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    parser.add_argument("--clock", type=Path)
    options = parser.parse_args()
    if options.clock:
        shift_clock(options.clock)
    passing = Points(options.crash, options.trace)
    for name in options.off:
        PROTECTIONS[name](passing)
    if options.strace:
        trace_store(options.strace, options.inject)
    for patch in options.patch:
        name, _, value = patch.partition("=")
        module, _, attribute = name.partition(":")
        target = importlib.import_module(f"hundredfold_coordinator.{module}")
        assert hasattr(target, attribute), patch
        setattr(target, attribute, type(getattr(target, attribute))(float(value)))
    wrap(passing)
    sys.argv[1:] = options.arguments[1:]
    cli.main()


if __name__ == "__main__":
    main()
