"""Shows what is measured of trees of processes, in which order, and how often."""

import os
import subprocess
import time
from dataclasses import dataclass, field
from typing import cast

import pytest
from hundredfold.internal.v1 import host_service_pb2
from hundredfold.v1 import policy_pb2
from hundredfold_host import monitor, proc
from hundredfold_host.containment.session import SessionGroup
from hundredfold_host.monitor import Monitor, pss
from hundredfold_host.worker import AttemptId, Moment, Use, Worker


@dataclass
class FakeWorker:
    """What a monitor looks at."""

    pid: int
    key: host_service_pb2.AttemptKey = field(default_factory=host_service_pb2.AttemptKey)
    use: Use = field(default_factory=Use)
    group: SessionGroup = field(default_factory=lambda: SessionGroup(policy_pb2.Limits()))
    enforced: list[str] = field(default_factory=list)
    forked: Moment = field(default_factory=Moment.now)

    def enforce_use(self) -> None:
        self.enforced.append("use")

    def enforce_memory(self) -> None:
        self.enforced.append("memory")

    def enforce_processes(self) -> None:
        self.enforced.append("processes")


class World:
    """Workers `t0`, `t1`, ... with invented processes: worker n has pid 10 n and may have children."""

    def __init__(self, count: int) -> None:
        self.workers: dict[AttemptId, FakeWorker] = {}
        self.processes: dict[int, proc.Stat] = {}
        self.pss: dict[int, int] = {}
        for number in range(count):
            self.add(number)

    def add(self, number: int, memory_bytes: int = 0) -> FakeWorker:
        key = host_service_pb2.AttemptKey(task_id=f"t{number}", number=1)
        worker = FakeWorker(10 * number, key, group=SessionGroup(policy_pb2.Limits(memory_bytes=memory_bytes)))
        self.workers[f"t{number}", 1] = worker
        self.start(worker.pid, parent=1)
        return worker

    def start(self, pid: int, *, parent: int, cpu_seconds: float = 1, pss_bytes: int = 100) -> None:
        self.processes[pid] = proc.Stat(pid, parent, 0, cpu_seconds)
        self.pss[pid] = pss_bytes

    def monitor(self, interval_seconds: float = 0.25) -> Monitor:
        return Monitor(cast("dict[AttemptId, Worker]", self.workers), interval_seconds)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Three workers in a world without clock, so that there is time for all of them."""
    world = World(3)
    monkeypatch.setattr(proc, "scan", lambda: world.processes)
    monkeypatch.setattr(monitor, "pss", lambda pid: world.pss.get(pid, 0))
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
    return world


def measured(watch: Monitor) -> list[str]:
    """Return the tasks whose workers were measured in one sweep."""
    return [attempt.attempt.task_id for attempt in watch.sweep()[0]]


# Figures --------------------------------------------------------------------------------------------------------------


def test_a_worker_is_measured_with_all_below_it(world: World) -> None:
    world.start(101, parent=10, cpu_seconds=2, pss_bytes=20)
    world.start(102, parent=101, cpu_seconds=3, pss_bytes=3)
    usages, _ = world.monitor().sweep()
    report = {one.attempt.task_id: one for one in usages}["t1"]
    assert (report.pss_bytes, report.processes, report.cpu_time.seconds) == (123, 3, 6)


def test_the_highest_figure_is_kept(world: World) -> None:
    watch, use = world.monitor(), world.workers["t1", 1].use
    for figure in (100, 500, 200):
        world.pss[10] = figure
        watch.sweep()
    assert (use.pss_bytes, use.peak_pss_bytes, use.samples) == (200, 500, 3)


def test_what_cannot_be_seen_changes_no_figure(world: World) -> None:
    watch, use = world.monitor(), world.workers["t1", 1].use
    watch.sweep()
    del world.pss[10]
    watch.sweep()
    assert (use.pss_bytes, use.samples) == (100, 1)


def test_a_worker_that_is_just_gone_is_no_trouble(world: World) -> None:
    del world.processes[10]
    usages, _ = world.monitor().sweep()
    assert {one.attempt.task_id: one.cpu_time.seconds for one in usages}["t1"] == 0


def test_what_a_start_takes_is_what_the_first_second_has_taken(world: World) -> None:
    watch, worker = world.monitor(), world.workers["t1", 1]
    watch.sweep()
    assert worker.use.startup_cpu_seconds is None
    worker.forked = Moment(0, time.monotonic_ns() - 2 * 10**9)
    watch.sweep()
    assert worker.use.startup_cpu_seconds == pytest.approx(0.5, rel=0.01)
    world.start(10, parent=1, cpu_seconds=100)
    watch.sweep()
    assert worker.use.startup_cpu_seconds == pytest.approx(0.5, rel=0.01)


def test_the_wait_for_a_cpu_counts_from_the_second_second_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    watch, worker = world.monitor(), world.workers["t1", 1]
    waits = {10: 3.0}
    monkeypatch.setattr(proc, "cpu_wait_seconds", lambda pid: waits.get(pid, 0.0))
    worker.forked = Moment(0, time.monotonic_ns() - 2 * 10**9)
    watch.sweep()
    assert (worker.use.startup_wait_seconds, worker.use.cpu_wait_seconds) == (3.0, 3.0)
    waits[10] = 5.0
    watch.sweep()
    assert worker.use.cpu_wait_seconds == 3.0, "it has used no CPU since, so nobody looks"
    world.start(10, parent=1, cpu_seconds=2)
    watch.sweep()
    assert (worker.use.startup_wait_seconds, worker.use.cpu_wait_seconds) == (3.0, 5.0)


def test_without_workers_there_is_nothing_to_measure() -> None:
    usages, pause = Monitor({}, 0.25).sweep()
    assert not usages
    assert pause >= 0.25


# Rotation -------------------------------------------------------------------------------------------------------------


def test_with_time_all_are_measured(world: World) -> None:
    assert sorted(measured(world.monitor())) == ["t0", "t1", "t2"]


def test_without_time_they_take_turns(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "_PSS_SECONDS", -1)
    watch = world.monitor()
    turns = [measured(watch) for _ in range(6)]
    assert all(len(turn) == 1 for turn in turns)
    assert sorted(turn[0] for turn in turns[:3]) == ["t0", "t1", "t2"]
    assert turns[3:] == turns[:3]


def test_a_new_worker_comes_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "_PSS_SECONDS", -1)
    watch = world.monitor()
    watch.sweep()
    world.add(7)
    assert measured(watch) == ["t7"]


def test_a_worker_that_has_left_takes_no_turn(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = world.monitor()
    watch.sweep()
    del world.workers["t1", 1]
    assert sorted(measured(watch)) == ["t0", "t2"]
    monkeypatch.setattr(monitor, "_PSS_SECONDS", -1)
    assert len(watch._rotation) == 2


def test_an_expensive_sweep_makes_the_next_one_late(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 10.0, 20.0, 20.1])
    monkeypatch.setattr(time, "thread_time", lambda: next(clock))
    watch = world.monitor(0.25)
    assert watch.sweep()[1] == 0.25
    assert watch.sweep()[1] == pytest.approx(10), "measuring may take a hundredth of the time"


def test_where_only_looking_holds_a_limit_it_is_looked_more_often(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([20.0, 20.1])
    monkeypatch.setattr(time, "thread_time", lambda: next(clock))
    world.add(7, memory_bytes=1000)
    assert world.monitor().sweep()[1] == pytest.approx(5)


def test_whose_limit_nothing_else_holds_is_measured_in_every_sweep(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add(7, memory_bytes=1000)
    monkeypatch.setattr(monitor, "_PSS_SECONDS", -1)
    watch = world.monitor()
    turns = [measured(watch) for _ in range(3)]
    assert [turn[0] for turn in turns] == ["t7", "t7", "t7"]
    assert sorted(turn[1] for turn in turns) == ["t0", "t1", "t2"], "and the others still take turns"


def test_limits_are_enforced_after_what_was_seen(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "_PSS_SECONDS", -1)
    world.monitor().sweep()
    enforced = [worker.enforced for worker in world.workers.values()]
    assert sorted(enforced) == [["processes", "use"], ["processes", "use"], ["processes", "use", "memory"]]


def test_threads_and_the_most_processes_are_counted(world: World) -> None:
    watch, use = world.monitor(), world.workers["t1", 1].use
    world.processes[101] = proc.Stat(101, 10, 0, 0, threads=5)
    watch.sweep()
    del world.processes[101]
    watch.sweep()
    assert (use.processes, use.most_processes, use.threads) == (1, 2, 1)


# Real processes -------------------------------------------------------------------------------------------------------


def test_a_process_has_a_size() -> None:
    assert pss(os.getpid()) > 1 << 20


def test_a_process_that_is_gone_has_none() -> None:
    with subprocess.Popen(["/bin/true"]) as process:
        process.wait()
    assert pss(process.pid) == 0


def test_a_real_tree_is_measured() -> None:
    script = "exec 3<&0; /bin/cat <&3 & wait"  # a job in the background would find its input at an end, and be gone
    with subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE, start_new_session=True) as process:
        worker = FakeWorker(process.pid, host_service_pb2.AttemptKey(task_id="t", number=1))
        watch = Monitor(cast("dict[AttemptId, Worker]", {("t", 1): worker}), 0.25)
        usages, _ = watch.sweep()
        process.kill()
    assert usages[0].pss_bytes > 0
    assert usages[0].processes >= 1
    assert usages[0].descriptors >= 3
