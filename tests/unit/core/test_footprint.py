"""Shows what the end of a run teaches of its behaviour."""

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import attempt_pb2
from hundredfold_coordinator.core import footprint

MIB = 1 << 20


def seconds(amount: float) -> Duration:
    return Duration(seconds=int(amount), nanos=round(amount % 1 * 1e9))


def taught(runs: int = 6, **receipt: Any) -> records_pb2.FootprintRecord:
    times = {name: seconds(value) for name, value in receipt.items() if name.endswith("_time")}
    known = records_pb2.FootprintRecord()
    for _ in range(runs):
        footprint.learn(known, attempt_pb2.Receipt(**{**receipt, **times}))
    return known


def test_what_a_run_wanted_counts_not_what_it_got() -> None:
    """Six that keep a CPU busy, on two CPUs: each gets a third of one, and waits for the rest."""
    crowded = taught(wall_time=10.0, cpu_time=3.4, startup_cpu_time=0.4, cpu_wait_time=6.0)
    assert footprint.cores(crowded) == pytest.approx(1.0, rel=0.03)


def test_who_waits_for_others_needs_no_cpu() -> None:
    assert footprint.cores(taught(wall_time=10.0, cpu_time=0.4, startup_cpu_time=0.3)) < 0.02


@pytest.mark.parametrize(("wall", "cores"), [(1.5, 0.9), (0.6, 0.9), (0.1, 0.0)])
def test_a_short_run_counts_as_a_whole_if_it_is_not_too_short(wall: float, cores: float) -> None:
    known = taught(wall_time=wall, cpu_time=0.9 * wall, startup_cpu_time=0.9 * wall)
    assert footprint.cores(known) == pytest.approx(cores, rel=0.02)


def test_too_few_runs_say_nothing() -> None:
    known = taught(footprint.ENOUGH_RUNS - 1, wall_time=10.0, cpu_time=10.0, peak_pss_bytes=MIB)
    assert footprint.cores(known) == 0.0
    assert not footprint.is_known(known)


@pytest.mark.parametrize(("sampled", "counted"), [(0, 240), (100, 240), (240, 100), (240, 0)])
def test_the_most_that_anybody_saw_is_what_was_used(sampled: int, counted: int) -> None:
    known = taught(peak_pss_bytes=sampled * MIB, max_private_bytes=counted * MIB)
    assert footprint.peak_bytes(known) == pytest.approx(240 * MIB, rel=0.02)


def test_half_of_all_runs_take_no_longer_than_the_median() -> None:
    known = records_pb2.FootprintRecord()
    for number in range(1, 100):
        footprint.learn(known, attempt_pb2.Receipt(wall_time=seconds(number)))
    assert footprint.median_seconds(known) == pytest.approx(55, rel=0.15)
