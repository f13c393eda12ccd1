"""The test build: the real program, with places where it dies and protections that can be switched off.

    python tests/faults/build.py [--crash POINT:N] [--trace FILE] [--off PROTECTION]... [--patch MODULE:NAME=NUMBER]...
        [--clock FILE] -- serve ...

Nothing of this is in the program itself: the build wraps what it needs, then runs the ordinary command line.
"""

import argparse
import asyncio
import collections
import functools
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from hundredfold_coordinator import cli, keys, performer
from hundredfold_coordinator.core import conclusion, effects, events, retry, running
from hundredfold_coordinator.journal import Journal
from hundredfold_coordinator.performer import Performer
from hundredfold_coordinator.services import host_service
from hundredfold_coordinator.storage import Storage


class Points:
    """The named places the program passes: dies at the n-th passage of one, and may write them all down."""

    def __init__(self, crash: str, trace: TextIO | None) -> None:
        self._name, _, number = crash.partition(":")
        self._number = int(number or 0)
        self._passed: collections.Counter[str] = collections.Counter()
        self._trace = trace

    def __call__(self, name: str) -> None:
        """Pass a place."""
        self._passed[name] += 1
        if self._trace:
            self._trace.write(f"{name}:{self._passed[name]}\n")
            self._trace.flush()
        if (name, self._passed[name]) == (self._name, self._number):
            os.kill(os.getpid(), signal.SIGKILL)


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


def answer_before_commit() -> None:
    """Let effects happen before what they follow from is durable."""

    async def flush(self: Journal) -> None:
        group, self._pending = self._pending, []
        for decision in group:
            for effect in decision.effects:
                self._perform(effect)
        await asyncio.sleep(0.02)  # the answer leaves
        await self._commit([decision.batch for decision in group if decision.batch.writes])

    assert hasattr(Journal, "_flush_group")
    Journal._flush_group = flush  # type: ignore[method-assign]


def accept_anybody() -> None:
    """Let an attempt deliver that has been given up."""

    def current(state: Any, attempt: tuple[str, int]) -> Any:
        record = state.tasks.get(attempt[0])
        return record if record and not record.result_digest else None

    running._current = current


def never_try_again() -> None:
    """Give every task up with its first failure."""
    conclusion.retry = type(  # type: ignore[attr-defined]
        "NoRetry", (), {"judge": staticmethod(lambda *_: 1), "CAUSES": retry.CAUSES}
    )


def hear_no_launches() -> None:
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


def go_by_the_wall() -> None:
    """Let alarms go by a clock that can be set."""
    performer.Alarm = WallAlarm  # type: ignore[assignment, misc]


def forget_requests() -> None:
    """Let every coordinator know only the request ids that it has seen itself."""
    request = keys.request
    keys.request = lambda request_id: request(f"{os.getpid()} {request_id}")


PROTECTIONS: dict[str, Callable[[], None]] = {
    "commit-first": answer_before_commit,
    "fence": accept_anybody,
    "launches": hear_no_launches,
    "monotonic": go_by_the_wall,
    "requests": forget_requests,
    "retry": never_try_again,
}


def main() -> None:
    """Become the program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--crash", default="")
    parser.add_argument("--trace", type=argparse.FileType("w"))
    parser.add_argument("--off", action="append", default=[], choices=sorted(PROTECTIONS))
    parser.add_argument("--patch", action="append", default=[], metavar="MODULE:NAME=NUMBER")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    parser.add_argument("--clock", type=Path)
    options = parser.parse_args()
    if options.clock:
        shift_clock(options.clock)
    for name in options.off:
        PROTECTIONS[name]()
    for patch in options.patch:
        name, _, value = patch.partition("=")
        module, _, attribute = name.partition(":")
        target = importlib.import_module(f"hundredfold_coordinator.{module}")
        assert hasattr(target, attribute), patch
        setattr(target, attribute, type(getattr(target, attribute))(float(value)))
    wrap(Points(options.crash, options.trace))
    sys.argv[1:] = options.arguments[1:]
    cli.main()


if __name__ == "__main__":
    main()
