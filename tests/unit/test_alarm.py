"""Shows that an alarm rings in time, and gives a world that slept a moment to say what it has done meanwhile."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest
from hundredfold.alarm import RESPITE_SECONDS, Alarm


class FakeLoop:
    """A loop whose clock goes on when a test says so; `jump` is what happens to a process that is stopped."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._timers: list[FakeTimer] = []

    def time(self) -> float:
        return self._now

    def call_later(self, delay: float, callback: Callable[[], object], /) -> asyncio.TimerHandle:
        self._timers.append(FakeTimer(self._now + delay, callback))
        return cast("asyncio.TimerHandle", self._timers[-1])

    def run(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        end = self._now + seconds
        while due := [timer for timer in self._timers if timer.when <= end]:
            first = min(due, key=lambda timer: timer.when)
            self._now = first.when
            self._fire(first)
        self._now = end

    def jump(self, seconds: float) -> None:
        """Let time pass while nothing runs; then run what is overdue."""
        self._now += seconds
        for timer in [timer for timer in self._timers if timer.when <= self._now]:
            self._fire(timer)

    def _fire(self, timer: "FakeTimer") -> None:
        self._timers.remove(timer)
        if not timer.cancelled:
            timer.callback()


class FakeTimer:
    """A timer of a `FakeLoop`."""

    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self.when = when
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture
def loop() -> FakeLoop:
    """A loop."""
    return FakeLoop()


@pytest.fixture
def rung() -> list[str]:
    """What has rung."""
    return []


def test_it_rings_in_time_and_once(loop: FakeLoop, rung: list[str]) -> None:
    Alarm(loop, 5, lambda: rung.append("now"))
    loop.run(4.9)
    assert rung == []
    loop.run(100)
    assert rung == ["now"]


def test_a_loop_that_is_a_little_late_is_not_taken_for_one_that_slept(loop: FakeLoop, rung: list[str]) -> None:
    Alarm(loop, 5, lambda: rung.append("now"))
    loop.jump(5.9)
    assert rung == ["now"]


def test_after_a_sleep_it_waits_a_little_more(loop: FakeLoop, rung: list[str]) -> None:
    alarm = Alarm(loop, 5, lambda: rung.append("now"))
    loop.jump(60)
    assert rung == []
    assert alarm.due == loop.time() + RESPITE_SECONDS
    loop.run(RESPITE_SECONDS)
    assert rung == ["now"]


def test_every_sleep_counts(loop: FakeLoop, rung: list[str]) -> None:
    Alarm(loop, 5, lambda: rung.append("now"))
    for _ in range(3):
        loop.jump(60)
    assert rung == []
    loop.run(RESPITE_SECONDS)
    assert rung == ["now"]


def test_what_has_happened_meanwhile_can_cancel_it(loop: FakeLoop, rung: list[str]) -> None:
    alarm = Alarm(loop, 5, lambda: rung.append("now"))
    loop.jump(60)
    alarm.cancel()
    loop.run(100)
    assert rung == []


def test_a_sleep_that_ends_before_it_is_due_changes_nothing(loop: FakeLoop, rung: list[str]) -> None:
    Alarm(loop, 100, lambda: rung.append("now"))
    loop.jump(60)
    loop.run(40)
    assert rung == ["now"]


async def test_it_runs_on_a_real_loop() -> None:
    rung = asyncio.Event()
    Alarm(asyncio.get_running_loop(), 0.01, rung.set)
    await asyncio.wait_for(rung.wait(), 5)
