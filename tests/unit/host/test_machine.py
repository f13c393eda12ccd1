"""Shows what is said of a machine: what is free in the tightest of its cgroups, how fast that goes, who stalls."""

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from hundredfold.v1 import coordinator_service_pb2 as pb
from hundredfold_host import machine as machines
from hundredfold_host import memory
from hundredfold_host import pressure as pressures
from hundredfold_host.containment.hierarchies import UNIFIED
from hundredfold_host.machine import MachineMonitor, News
from hundredfold_host.memory import MemoryCgroup, fault_rate
from hundredfold_host.pressure import PressureMonitor

MIB = 1 << 20
TOTAL = 1 << 40


def cgroup_v2(path: Path, limit: str, used: int, reclaimable: int = 0) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "memory.max").write_text(f"{limit}\n")
    (path / "memory.current").write_text(f"{used}\n")
    (path / "memory.stat").write_text(f"anon 5\ninactive_file {reclaimable}\nactive_file 7\n")
    return path


def cgroup_v1(path: Path, limit: int, used: int, reclaimable: int = 0) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (path / "memory.usage_in_bytes").write_text(f"{used}\n")
    (path / "memory.stat").write_text(f"cache 3\ninactive_file 1\ntotal_inactive_file {reclaimable}\n")
    return path


def test_a_cgroup_without_a_limit_is_none(tmp_path: Path) -> None:
    assert MemoryCgroup({}, TOTAL).limit_bytes == 0
    assert MemoryCgroup({UNIFIED: cgroup_v2(tmp_path, "max", 5)}, TOTAL).limit_bytes == 0
    assert MemoryCgroup({"memory": cgroup_v1(tmp_path, 1 << 62, 5)}, TOTAL).limit_bytes == 0


def test_what_the_kernel_would_give_up_is_free(tmp_path: Path) -> None:
    found = MemoryCgroup({UNIFIED: cgroup_v2(tmp_path, "1000", 700, 200)}, TOTAL)
    assert (found.limit_bytes, found.free_bytes()) == (1000, 500)
    found = MemoryCgroup({"memory": cgroup_v1(tmp_path, 1000, 700, 200)}, TOTAL)
    assert (found.limit_bytes, found.free_bytes()) == (1000, 500)


def test_a_limit_further_up_holds_too(tmp_path: Path) -> None:
    cgroup_v2(tmp_path / "a", "1000", 900)
    found = MemoryCgroup({UNIFIED: cgroup_v2(tmp_path / "a" / "b", "5000", 10)}, TOTAL)
    assert (found.limit_bytes, found.free_bytes()) == (1000, 100)


def test_more_than_the_machine_has_is_no_limit(tmp_path: Path) -> None:
    assert MemoryCgroup({UNIFIED: cgroup_v2(tmp_path, str(TOTAL), 0)}, TOTAL).limit_bytes == 0


def test_this_machine_can_be_measured() -> None:
    assert fault_rate() > 10 * MIB
    sample = MachineMonitor({}, 1).sample()
    assert 0 < sample.memory_free_bytes <= sample.memory_total_bytes
    assert sample.cpu_count == psutil.cpu_count()
    assert sample.HasField("time")
    assert 0 < sample.headroom_bytes <= sample.memory_total_bytes // 4


def test_headroom_is_what_was_asked_for_at_least_and_a_quarter_at_most(tmp_path: Path) -> None:
    own = {UNIFIED: cgroup_v2(tmp_path, str(400 * MIB), 0)}
    assert MachineMonitor(own, 1 << 40).headroom_bytes == 100 * MIB
    assert MachineMonitor(own, 0).headroom_bytes == 0
    assert MachineMonitor({}, 1 << 30).headroom_bytes >= 1 << 30


def test_headroom_is_what_could_be_used_up_within_a_tenth_of_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machines, "fault_rate", lambda: 500.0 * MIB)
    own = {UNIFIED: cgroup_v2(tmp_path, str(400 * MIB), 0)}
    assert MachineMonitor(own, 1).headroom_bytes == 50 * MIB
    assert MachineMonitor(own, 70 * MIB).headroom_bytes == 70 * MIB


def test_it_is_looked_twice_within_the_time_of_reaction() -> None:
    assert machines.SAMPLE_SECONDS <= machines.REACTION_SECONDS / 2


def test_all_cpus_can_fault_in_pages_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([1.0, 2.0])
    monkeypatch.setattr(memory.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(memory.psutil, "cpu_count", lambda: 3)
    assert fault_rate() == 3 * 16 * MIB


@pytest.mark.parametrize(("available", "free"), [(300, 300), (800, 600)])
def test_free_is_the_smaller_of_what_machine_and_cgroup_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, available: int, free: int
) -> None:
    monitor = MachineMonitor({UNIFIED: cgroup_v2(tmp_path, str(1000 * MIB), 400 * MIB)}, 1)
    figures = SimpleNamespace(total=TOTAL, available=available * MIB)
    monkeypatch.setattr(machines.psutil, "virtual_memory", lambda: figures)
    assert monitor.sample().memory_free_bytes == free * MIB


def test_who_uses_more_than_it_may_has_nothing_free(tmp_path: Path) -> None:
    assert MemoryCgroup({UNIFIED: cgroup_v2(tmp_path, "1000", 1100)}, TOTAL).free_bytes() == 0


def test_it_is_calm_while_nothing_could_use_up_what_is_free_in_time(tmp_path: Path) -> None:
    monitor = MachineMonitor({UNIFIED: cgroup_v2(tmp_path, str(400 * MIB), 0)}, 1)
    monitor._fault_rate = 100 * MIB
    free = monitor.headroom_bytes + 100 * MIB
    assert not monitor.is_calm(pb.Machine(memory_free_bytes=free))
    assert monitor.is_calm(pb.Machine(memory_free_bytes=free + 1))


def test_growth_is_what_less_is_free_per_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 100.0, 100.1, 100.2, 100.5])
    path = cgroup_v2(tmp_path, str(1000 * MIB), 100 * MIB)
    monitor = MachineMonitor({UNIFIED: path}, 1)
    monkeypatch.setattr(machines.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(PressureMonitor, "sample", lambda _: pb.Pressure())
    assert monitor._growth(100.0, 900 * MIB) == 0
    assert monitor._growth(100.1, 800 * MIB) == pytest.approx(1000 * MIB, rel=0.01)
    assert monitor._growth(100.6, 800 * MIB) == pytest.approx(0, abs=MIB), "what is long past does not count"
    assert monitor._growth(100.7, 900 * MIB) == 0


def pressure_files(path: Path, total: int) -> Path:
    path.mkdir(exist_ok=True)
    for name in ("memory", "cpu", "io"):
        line = f"avg10=0.00 avg60=0.00 avg300=0.00 total={total}\n"
        (path / f"{name}.pressure").write_text(f"some {line}full {line}")
        (path / name).write_text(f"some {line}full {line}")
    (path / "cgroup.type").write_text("domain\n")
    return path


def test_pressure_of_the_own_cgroup_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 11.0, 12.0])
    monkeypatch.setattr(pressures.time, "monotonic", lambda: next(clock))
    monitor = PressureMonitor({UNIFIED: pressure_files(tmp_path, 0)})
    assert monitor.sample().scope == pb.PRESSURE_SCOPE_CGROUP
    pressure_files(tmp_path, 300_000)
    assert monitor.sample().memory_full == pytest.approx(0.3)
    assert monitor.sample().memory_full == 0


def test_each_pressure_is_read_from_its_own_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 11.0])
    monkeypatch.setattr(pressures.time, "monotonic", lambda: next(clock))
    path = pressure_files(tmp_path, 0)
    monitor = PressureMonitor({UNIFIED: path})
    monitor.sample()
    for name, some, full in (("memory", 100_000, 200_000), ("cpu", 300_000, 0), ("io", 0, 400_000)):
        (path / f"{name}.pressure").write_text(f"some avg10=0.00 total={some}\nfull avg10=0.00 total={full}\n")
    found = monitor.sample()
    shares = [found.memory_some, found.memory_full, found.cpu_some, found.io_full]
    assert shares == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_that_of_the_root_is_the_machines(tmp_path: Path) -> None:
    (pressure_files(tmp_path, 0) / "cgroup.type").unlink()
    assert PressureMonitor({UNIFIED: tmp_path}).sample().scope != pb.PRESSURE_SCOPE_CGROUP


def test_else_that_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pressures, "_MACHINE", pressure_files(tmp_path, 0))
    assert PressureMonitor({}).sample().scope == pb.PRESSURE_SCOPE_MACHINE
    monkeypatch.setattr(pressures, "_MACHINE", tmp_path / "none")
    assert PressureMonitor({}).sample() == pb.Pressure()


def test_what_changes_nothing_is_not_told_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(machines.time, "monotonic", lambda: now[0])
    news, sample = News(), pb.Machine(memory_total_bytes=1000 * MIB, memory_free_bytes=500 * MIB)
    assert news.is_worth_a_word(sample, 0)
    now[0] = 0.05
    assert not news.is_worth_a_word(sample, 0)
    assert news.is_worth_a_word(sample, 1), "an attempt has come"
    sample.memory_free_bytes -= 10 * MIB
    assert news.is_worth_a_word(sample, 1), "memory has moved"
    now[0] = 0.2
    assert not news.is_worth_a_word(sample, 1)
    now[0] = 1.0
    assert news.is_worth_a_word(sample, 1)
