"""Shows what is sampled of the machine while a run lasts, on a machine whose figures are made up."""

import asyncio
import os
from itertools import count
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


async def sampled(seconds: float) -> Sampler:
    found = Sampler(os.getpid())
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


def test_cpu_time_is_the_machines_and_what_is_not_the_familys_is_others(
    available: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    available += [100 * MIB]
    ticks = count(step=5)  # of which one is looked at before, one for the sample and one behind it
    monkeypatch.setattr(sampler, "busy_seconds", lambda: float(next(ticks)))
    found = asyncio.run(sampled(0))
    assert found.cpu_s == 10
    assert found.others_cores > 50, "this process has used next to nothing of it"


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
