"""Where the coordinator and the workers of a `budget` run pass: when, and how much CPU time they had used by then.

As a program it is the ordinary command line with points in it; as a plugin file it puts points into workers. Each point
is a line `NAME WALL_NS CPU_NS`, in a file for each process in the directory `POINTS_DIRECTORY`.
"""

import functools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

_DIRECTORY = Path(os.environ.get("POINTS_DIRECTORY", "/nonexistent"))
_passed: list[str] = []


def point(name: str) -> None:
    """Note that a place is passed."""
    _passed.append(f"{name} {time.time_ns()} {time.process_time_ns()}")


def write_down() -> None:
    """Write what was passed, and forget it."""
    with (_DIRECTORY / str(os.getpid())).open("a") as file:
        file.writelines(line + "\n" for line in _passed)
    _passed.clear()


def around(owner: Any, name: str, before: str = "", after: str = "") -> None:
    """Have a point before and after a function of `owner`."""
    function: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(function)
    def passing(*args: Any, **kwargs: Any) -> Any:
        if before:
            point(before)
        try:
            return function(*args, **kwargs)
        finally:
            if after:
                point(after)

    setattr(owner, name, passing)


def _mark_worker() -> None:
    from hundredfold_worker import bootstrap, runner
    from hundredfold_worker.channel import Channel

    run = bootstrap.run

    def first(*args: Any) -> NoReturn:
        _passed.clear()  # what the zygote has rehearsed
        point("forked")
        run(*args)

    bootstrap.run = first
    around(Channel, "next_attempt", before="ready", after="taken")
    around(runner, "_run", before="begun", after="returned")
    around(Channel, "complete", after="delivered")
    leave = bootstrap._leave

    def last(code: int) -> NoReturn:
        point("leaves")
        write_down()
        leave(code)

    bootstrap._leave = last


def _mark_coordinator() -> None:
    from hundredfold_coordinator.journal import Journal
    from hundredfold_coordinator.performer import Performer

    post, perform = Journal.post, Performer.perform

    def posting(self: Journal, event: Any) -> None:
        point(f"event.{type(event).__name__}")
        post(self, event)
        point(f"decided.{type(event).__name__}")

    def performing(self: Performer, effect: Any) -> None:
        point(f"effect.{type(effect).__name__}")
        perform(self, effect)

    Journal.post, Performer.perform = posting, performing  # type: ignore[method-assign]


if __name__ == "__main__":
    from hundredfold_coordinator import cli

    _mark_coordinator()
    try:
        cli.main()
    finally:
        write_down()
elif "hundredfold_worker" in sys.modules:
    _mark_worker()
