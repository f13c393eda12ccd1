"""Shows what a host has room for: by bytes, by CPU, by pressure; and what is learned of behaviours."""

from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.duration_pb2 import Duration
from hundredfold.internal.v1 import host_service_pb2
from hundredfold.v1 import attempt_pb2, policy_pb2, task_pb2
from hundredfold.v1 import coordinator_service_pb2 as pb
from hundredfold_coordinator.core import admission, effects, events, scheduler
from hundredfold_coordinator.core.load import Load
from hundredfold_coordinator.core.reservation import DEFAULT_BYTES, reservation

if TYPE_CHECKING:
    from tests.unit.core.conftest import Core, Told

HOST = "host-1"
MIB = 1 << 20
SECOND = 1_000_000_000


@pytest.fixture
def house(house: "Core") -> "Core":
    """A house that looks at memory."""
    limit(house)
    return house


def limit(core: "Core", **limits: Any) -> None:
    core.limit(memory_reserve_bytes=100 * MIB, **limits)


def duration_of(seconds: float) -> Duration:
    return Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))


def machine(free: int, **fields: Any) -> pb.Machine:
    """Return a sample of a machine with so many MiB free and 100 in reserve."""
    figures = {"memory_total_bytes": 1000 * MIB, "headroom_bytes": 100 * MIB, "cpu_count": 2, **fields}
    return pb.Machine(memory_free_bytes=free * MIB, **figures)


def measure(core: "Core", free: int, used: dict[str, int] | None = None, **fields: Any) -> "Told":
    """Report a sample, and what attempts were seen to use, in MiB."""
    usages = []
    for task_id, mebibytes in (used or {}).items():
        key = host_service_pb2.AttemptKey(task_id=task_id, number=1)
        usages.append(host_service_pb2.AttemptUsage(attempt=key, pss_bytes=mebibytes * MIB))
    return core.tell(events.MachineMeasured, host=HOST, machine=machine(free, **fields), attempts=usages)


def starts(told: "Told") -> list[str]:
    return [launch.attempt[0] for launch in told.all(effects.Launch)]


def gate(core: "Core", task_id: str) -> tuple[str, str]:
    found = scheduler.gate(core.state, core.state.tasks[task_id])
    return task_pb2.GateKind.Name(found.kind).removeprefix("GATE_KIND_"), found.detail


def teach(core: "Core", *peaks: int, wall: float = 1.0, cpu: float = 0.1, startup: float = 0.1) -> None:
    """Let tasks run to their end that have used so many MiB at most."""
    for number, peak in enumerate(peaks):
        task_id = f"lesson{number}"
        core.complete(core.run(task_id))
        core.exited(
            task_id,
            peak_pss_bytes=peak * MIB,
            wall_time=duration_of(wall),
            cpu_time=duration_of(cpu),
            startup_cpu_time=duration_of(startup),
        )


# Reservations ---------------------------------------------------------------------------------------------------------


def wanted(core: "Core", memory: int = 0, floor: int = 0) -> tuple[int, bool]:
    found = reservation(core.state, "b", policy_pb2.Limits(memory_bytes=memory * MIB), floor * MIB)
    return found.size // MIB, found.known


def test_of_what_nobody_knows_something_is_guessed(house: "Core") -> None:
    assert wanted(house) == (DEFAULT_BYTES // MIB, False)


def test_what_is_declared_counts_until_enough_is_known(house: "Core") -> None:
    assert wanted(house, memory=500) == (500, True)
    teach(house, 200, 200, 200, 200)
    assert wanted(house, memory=500) == (500, True)
    teach(house, 200)
    size, known = wanted(house, memory=500)
    assert (size, known) == (pytest.approx(200, rel=0.02), True)


def test_a_few_runs_are_better_than_a_guess(house: "Core") -> None:
    teach(house, 300)
    assert wanted(house) == (pytest.approx(375, rel=0.03), False)


def test_what_runs_teaches_before_it_has_ended(house: "Core") -> None:
    house.run("t1")
    measure(house, 500, {"t1": 200})
    assert wanted(house)[0] == 64, "it has only begun"
    house.now_ns += SECOND
    measure(house, 500, {"t1": 200})
    assert wanted(house) == (250, False)


def test_the_second_run_uses_what_the_first_one_taught(house: "Core") -> None:
    measure(house, 900)
    first = house.submit("t0").one(effects.Launch).reservation_bytes
    house.exited("t0")
    teach(house, *[150] * 20)
    told = house.submit("t1").one(effects.Launch)
    assert (first, told.reservation_bytes) == (DEFAULT_BYTES, pytest.approx(150 * MIB, rel=0.02))
    assert house.stored("t1").task.attempts[0].reservation_bytes == told.reservation_bytes


def test_what_was_learned_is_there_after_a_restart(house: "Core") -> None:
    teach(house, *[150] * 6)
    learned = house.state.footprints["b"]
    assert house.stored_footprint("b") == learned


@pytest.mark.parametrize("cause", [attempt_pb2.KILL_CAUSE_EVICTED, attempt_pb2.KILL_CAUSE_MEMORY_LIMIT])
def test_who_was_ended_for_its_memory_gets_more_the_next_time(house: "Core", cause: int) -> None:
    house.run("t1")
    house.exited("t1", kill_cause=cause, signal=9, peak_pss_bytes=100 * MIB)
    if house.state.tasks["t1"].task.state == task_pb2.TASK_STATE_QUEUED:
        house.mature("t1")
    assert house.stored("t1").task.attempts[1].reservation_bytes == 150 * MIB


@pytest.mark.parametrize(("peak", "company", "again"), [(800, False, False), (800, True, True), (700, False, True)])
def test_who_had_it_all_and_wanted_more_is_not_tried_again(
    house: "Core", peak: int, *, company: bool, again: bool
) -> None:
    measure(house, 900)
    house.run("t1")
    if company:
        house.run("t2")
    house.exited("t1", kill_cause=attempt_pb2.KILL_CAUSE_EVICTED, signal=9, peak_pss_bytes=peak * MIB)
    task = house.stored("t1").task
    assert (task.dead_letter_cause == task_pb2.DEAD_LETTER_CAUSE_UNSPECIFIED) == again


def test_nobody_gets_more_than_its_limit(house: "Core") -> None:
    assert wanted(house, memory=100, floor=400) == (100, True)


def test_one_that_failed_teaches_nothing(house: "Core") -> None:
    house.run("t1")
    house.exited("t1", exit_code=1, peak_pss_bytes=900 * MIB)
    assert wanted(house)[0] == 64


# Bytes ----------------------------------------------------------------------------------------------------------------


def test_a_reservation_shrinks_with_age_to_what_is_used() -> None:
    load = Load("b", 100 * MIB, 0, 0, 10.0)
    assert load.outstanding_bytes(0) == 100 * MIB
    load.used_bytes = 40 * MIB
    assert [load.outstanding_bytes(second * SECOND) // MIB for second in (0, 5, 10, 20)] == [60, 30, 0, 0]
    load.used_bytes = 200 * MIB
    assert load.outstanding_bytes(0) == 0


def test_as_many_start_as_fit(house: "Core") -> None:
    teach(house, *[100] * 6)
    measure(house, 450)
    launched = [task_id for number in range(6) for task_id in starts(house.submit(f"t{number}"))]
    assert launched == ["t0", "t1", "t2"], "350 MiB beside the reserve"
    name, detail = gate(house, "t3")
    assert name == "MEMORY"
    assert "it needs 99 MiB (95 of 100 of its last runs used less" in detail
    assert "450 MiB are free, of which 298 MiB are set aside for what runs and 100 MiB kept in reserve" in detail


def test_what_is_used_is_not_counted_twice(house: "Core") -> None:
    teach(house, *[100] * 6)
    measure(house, 450)
    for number in range(4):
        house.submit(f"t{number}")
    house.now_ns += SECOND // 2
    assert starts(measure(house, 150, {"t0": 100, "t1": 100, "t2": 100})) == []
    assert starts(measure(house, 250, {"t0": 100, "t1": 100, "t2": 100})) == ["t3"]


def test_an_end_makes_room(house: "Core") -> None:
    teach(house, *[100] * 6)
    measure(house, 250)
    for number in range(2):
        house.submit(f"t{number}")
    assert starts(house.exited("t0")) == ["t1"]


def test_a_host_with_nothing_on_it_has_room_for_one(house: "Core") -> None:
    teach(house, *[5000] * 6)
    measure(house, 450)
    assert starts(house.submit("t0")) == ["t0"]
    assert starts(house.submit("t1")) == []


def test_not_even_then_if_strangers_have_it_all(house: "Core") -> None:
    measure(house, 90)
    assert starts(house.submit("t0")) == []
    assert gate(house, "t0") == ("MEMORY", "90 MiB are free, 100 MiB are kept in reserve")


def test_memory_that_is_being_used_up_is_not_given_away(house: "Core") -> None:
    measure(house, 900)
    house.submit("t0")
    assert starts(measure(house, 850, memory_growth_bytes=740 * MIB)) == []
    assert starts(house.submit("t1")) == []
    assert "740 MiB more are used a second" in gate(house, "t1")[1]
    assert starts(measure(house, 850)) == ["t1"]


def test_a_large_one_is_not_passed_for_ever(house: "Core") -> None:
    measure(house, 500)
    house.submit("t0", behaviour="small")
    house.submit("t1", behaviour="large", limits=policy_pb2.Limits(memory_bytes=400 * MIB))
    assert starts(house.submit("t2", behaviour="small")) == ["t2"]
    house.now_ns += 31 * SECOND
    assert starts(house.submit("t3", behaviour="small")) == []
    assert gate(house, "t3") == ("MEMORY", "task t1 has waited for memory so long that nothing passes it")
    house.exited("t0")
    assert starts(house.exited("t2")) == ["t1"]


def test_only_the_wait_for_memory_counts_for_that(house: "Core") -> None:
    measure(house, 500)
    house.limit(memory_reserve_bytes=100 * MIB, concurrency=1)
    house.submit("t0", behaviour="small")
    house.submit("t1", behaviour="large", limits=policy_pb2.Limits(memory_bytes=400 * MIB))
    house.now_ns += 60 * SECOND
    limit(house)
    assert starts(house.submit("t2", behaviour="small")) == ["t2"]


# Others ---------------------------------------------------------------------------------------------------------------


def test_of_what_nobody_knows_a_few_are_looked_at_first(house: "Core") -> None:
    measure(house, 100_000)
    launched = [task_id for number in range(40) for task_id in starts(house.submit(f"t{number:02}"))]
    assert len(launched) == admission.RAMP
    assert gate(house, "t39")[0] == "RAMP"
    assert len(starts(measure(house, 100_000))) == admission.RAMP
    assert len(starts(measure(house, 100_000))) == 8, "the rest: it would have been twice as many"


def test_what_keeps_cpus_busy_is_started_for_as_many_as_there_are(house: "Core") -> None:
    teach(house, *[10] * 6, wall=11, cpu=10, startup=1)
    measure(house, 900)
    launched = [task_id for number in range(8) for task_id in starts(house.submit(f"t{number}"))]
    assert len(launched) == 4, "two for each of two CPUs"
    assert gate(house, "t7") == (
        "CPU",
        "it keeps 0.9 CPUs busy; those that run want 3.6, and 4 are allowed on 2 CPUs",
    )


def test_what_waits_most_of_the_time_is_not_held_up_by_cpus(house: "Core") -> None:
    teach(house, *[1] * 6, wall=11, cpu=1.5, startup=1)
    measure(house, 900)
    assert len([task_id for number in range(50) for task_id in starts(house.submit(f"t{number}"))]) == 50


def pressure(scope: int, full: float) -> pb.Pressure:
    return pb.Pressure(scope=scope, memory_full=full)


def test_nothing_is_started_while_what_runs_stalls(house: "Core") -> None:
    house.submit("t0")
    measure(house, 900, pressure=pressure(pb.PRESSURE_SCOPE_CGROUP, 0.3))
    assert starts(house.submit("t1")) == []
    assert gate(house, "t1") == ("PRESSURE", "what runs waits for memory 30% of the time")
    assert starts(measure(house, 900, pressure=pressure(pb.PRESSURE_SCOPE_CGROUP, 0.01))) == ["t1"]


def test_a_strangers_pressure_is_heeded_only_while_memory_is_short(house: "Core") -> None:
    house.submit("t0")
    measure(house, 900, pressure=pressure(pb.PRESSURE_SCOPE_MACHINE, 0.9))
    assert starts(house.submit("t1")) == ["t1"]
    short = machine(900, memory_total_bytes=100_000 * MIB, pressure=pressure(pb.PRESSURE_SCOPE_MACHINE, 0.9))
    house.tell(events.MachineMeasured, host=HOST, machine=short)
    assert starts(house.submit("t2")) == []
    assert gate(house, "t2")[0] == "PRESSURE"


# Tenants --------------------------------------------------------------------------------------------------------------


def test_a_late_tenant_does_not_wait_behind_a_thousand(house: "Core") -> None:
    """`--concurrency 10`, A with 1,000 tasks, then B with 10: B's tenth ends before A's hundredth."""
    limit(house, concurrency=10)
    launched = [name for n in range(1000) for name in starts(house.submit(f"a{n:04}", tenant="A"))]
    launched += [name for n in range(10) for name in starts(house.submit(f"b{n:04}", tenant="B"))]
    ended: list[str] = []
    while "b0009" not in ended:
        ended.append(launched.pop(0))
        launched += starts(house.exited(ended[-1]))
        launched += starts(house.cancel(ended[-1]))
    assert sum(name.startswith("a") for name in ended) < 40


def test_a_limit_of_a_tenant_or_a_behaviour_holds(house: "Core") -> None:
    limit(house, tenant_limits={"A": 1}, behaviour_limits={"c": 1})
    assert [starts(house.submit(f"t{n}", tenant="A")) for n in range(2)] == [["t0"], []]
    assert gate(house, "t1") == ("TENANT_LIMIT", "tenant 'A' has 1 attempt alive, and `tenant_limits` allows it 1")
    assert [starts(house.submit(f"c{n}", behaviour="c")) for n in range(2)] == [["c0"], []]
    assert gate(house, "c1") == (
        "BEHAVIOUR_LIMIT",
        "behaviour 'c' has 1 attempt alive, and `behaviour_limits` allows it 1",
    )
    assert starts(house.submit("other")) == ["other"]


def test_priority_ages(core: "Core") -> None:
    limit(core, priority_ageing_seconds=10, concurrency=1)
    core.submit("old", priority=0)
    core.now_ns += 25 * SECOND
    core.submit("twice", priority=2)
    core.submit("thrice", priority=3)
    order = starts(core.attach())
    for _ in range(2):
        core.cancel(order[-1])
        order += starts(core.exited(order[-1], signal=15))
    assert order == ["thrice", "old", "twice"], "25 s of waiting lie between two and three of priority"
