"""Shows what is sampled of the machine while a run lasts, on a machine whose figures are made up."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace

import psutil
import pytest
from hundredfold_coordinator.trial import sampler
from hundredfold_coordinator.trial.sampler import Sampler

MIB = 1 << 20


@pytest.fixture
def available(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes that the machine has left: what is in the list, one look after the other, and then the last of them."""
    left: list[int] = []

    def look() -> SimpleNamespace:
        return SimpleNamespace(available=left.pop(0) if len(left) > 1 else left[0])

    monkeypatch.setattr(psutil, "virtual_memory", look)
    return left


async def sampled(seconds: float, family: int = 0) -> Sampler:
    found = Sampler(family or os.getpid())
    async with found.sampling():
        await asyncio.sleep(seconds)
    return found


def test_a_run_that_is_over_at_once_has_a_sample(available: list[int]) -> None:
    available += [100 * MIB, 70 * MIB]
    found = asyncio.run(sampled(0))
    assert [sample.memory_bytes for sample in found.samples] == [30 * MIB]
    assert found.samples[0].at_s >= 0


def test_memory_is_what_is_used_more_than_before_and_never_less_than_nothing(
    available: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "_INTERVAL_SECONDS", 0.01)
    available += [100 * MIB, 90 * MIB, 120 * MIB, 50 * MIB]
    found = asyncio.run(sampled(0.1))
    assert [sample.memory_bytes for sample in found.samples][:3] == [10 * MIB, 0, 50 * MIB]
    moments = [sample.at_s for sample in found.samples]
    assert moments == sorted(moments)


def test_cpu_time_is_the_familys_and_the_rest_is_that_of_others(
    available: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    available += [100 * MIB]
    monkeypatch.setattr(sampler, "_INTERVAL_SECONDS", 0.05)
    began = time.monotonic()
    monkeypatch.setattr(sampler, "busy_seconds", lambda: 3 * (time.monotonic() - began))  # three CPUs are busy
    seconds = iter([10.0, 10.5])
    monkeypatch.setattr(Sampler, "_family_seconds", lambda _: next(seconds))
    found = asyncio.run(sampled(0.5))
    assert found.cpu_s == 0.5
    own = 0.5 / found.samples[-1].at_s
    assert found.others_cores == pytest.approx(3 - own, abs=0.2)
    used = [sample.cores for sample in found.samples]
    assert sum(used) / len(used) == pytest.approx(own, abs=0.2), "samples have what is not that of others"


def test_what_strangers_use_is_not_the_runs(available: list[int]) -> None:
    available += [100 * MIB]
    with started("import time; time.sleep(60)") as family, started("while True: pass"):
        found = asyncio.run(sampled(0.3, family))
    assert found.cpu_s < 0.1, "an interpreter that starts"
    assert found.others_cores > 0.1, "the stranger"


@contextlib.contextmanager
def started(code: str) -> Iterator[int]:
    """Run a process while the block runs."""
    with subprocess.Popen([sys.executable, "-S", "-c", code]) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def test_a_family_that_is_gone_is_no_problem(available: list[int]) -> None:
    available += [100 * MIB]
    pid = os.fork()
    if not pid:
        os._exit(0)
    found = Sampler(pid)
    os.waitpid(pid, 0)

    async def run() -> None:
        async with found.sampling():
            pass

    asyncio.run(run())
    assert found.samples
