"""Shows what a host has room for: by bytes, by CPU, by pressure; and whose turn it is."""

from typing import TYPE_CHECKING

import pytest
from figures import HOST, MIB, SECOND, gate, limit, machine, measure, starts, teach
from hundredfold.v1 import attempt_pb2, policy_pb2, task_pb2
from hundredfold.v1 import coordinator_service_pb2 as pb
from hundredfold_coordinator.core import admission, events
from hundredfold_coordinator.core.load import Load
from hundredfold_coordinator.core.reservation import expected_cores
from hundredfold_coordinator.core.state import Limits, State

if TYPE_CHECKING:
    from tests.unit.core.conftest import Core


@pytest.fixture
def house(house: "Core") -> "Core":
    """A house that looks at memory."""
    limit(house)
    return house


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


def test_what_is_given_back_is_set_aside_again_at_once(house: "Core") -> None:
    teach(house, *[100] * 6, wall=1000)
    measure(house, 250)
    house.submit("t0")
    house.now_ns += SECOND
    measure(house, 150, {"t0": 100})
    house.now_ns += 1
    measure(house, 250, {"t0": 0})
    assert starts(house.submit("t1")) == []


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
    house.now_ns += 29 * SECOND
    assert starts(house.submit("early", behaviour="small")) == ["early"]
    house.exited("early")
    house.now_ns += 2 * SECOND
    assert starts(house.submit("t3", behaviour="small")) == []
    assert gate(house, "t3") == ("MEMORY", "task t1 has waited for memory so long that nothing passes it")
    house.exited("t0")
    assert starts(house.exited("t2")) == ["t1"]
    assert house.state.unpassed == "", "nobody waits for it any more"


def test_who_waits_for_something_else_is_passed(house: "Core") -> None:
    teach(house, *[1] * 5)
    measure(house, 900)
    for number in range(5):
        house.submit(f"t{number}", behaviour="unknown")
    assert gate(house, "t4")[0] == "RAMP"
    house.now_ns += 31 * SECOND
    assert starts(house.submit("small")) == ["small"]


def test_what_is_set_aside_on_one_host_is_not_given_away_on_another(house: "Core") -> None:
    house.attach("host-2")
    teach(house, *[100] * 6)
    for host in (HOST, "host-2"):
        measure(house, 450, host=host)
    launched = [task_id for number in range(6) for task_id in starts(house.submit(f"t{number}"))]
    assert launched == ["t0", "t1", "t2"], "they share one machine"


def test_what_is_set_aside_is_free_again_at_the_end(house: "Core") -> None:
    teach(house, *[100] * 6)
    measure(house, 350)
    for number in range(3):
        house.submit(f"t{number}")
    assert starts(house.exited("t0")) == ["t2"]


def test_of_what_is_known_it_is_known_how_far_it_grows(house: "Core") -> None:
    house.submit("t0", behaviour="unknown")
    teach(house, *[1] * 6)
    house.submit("t1")
    house.exited("t0")
    house.cancel("t0")
    house.now_ns += SECOND
    measure(house, 850, memory_growth_bytes=5000 * MIB)
    assert starts(house.submit("t2")) == ["t2"]


@pytest.mark.parametrize(("peak", "dead"), [(250, False), (350, True)])
def test_all_memory_is_what_the_cgroup_may_use(house: "Core", peak: int, *, dead: bool) -> None:
    measure(house, 300, memory_limit_bytes=400 * MIB)
    house.run("t1")
    house.exited("t1", kill_cause=attempt_pb2.KILL_CAUSE_EVICTED, signal=9, peak_pss_bytes=peak * MIB)
    assert bool(house.stored("t1").task.dead_letter_cause) == dead


def test_who_had_it_all_and_ended_otherwise_is_tried_again(house: "Core") -> None:
    measure(house, 900)
    house.run("t1")
    house.exited("t1", exit_code=1, peak_pss_bytes=900 * MIB)
    assert house.stored("t1").task.state == task_pb2.TASK_STATE_QUEUED


def test_who_runs_on_another_host_is_company(house: "Core") -> None:
    house.attach("host-2")
    measure(house, 900)
    house.run("t1")
    house.run("t2")
    house.exited("t1", kill_cause=attempt_pb2.KILL_CAUSE_EVICTED, signal=9, peak_pss_bytes=800 * MIB)
    assert house.stored("t1").task.dead_letter_cause == task_pb2.DEAD_LETTER_CAUSE_UNSPECIFIED


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
    for number in range(40, 80):
        house.submit(f"t{number:02}")
    assert len(starts(measure(house, 100_000))) == 32, "as many as there are already"


def test_where_nothing_runs_one_is_started_without_a_look(house: "Core") -> None:
    measure(house, 900)
    for number in range(4):
        house.submit(f"t{number}")
    house.submit("next")
    assert gate(house, "next")[0] == "RAMP"
    assert [starts(house.exited(f"t{number}", exit_code=0)) for number in range(4)] == [[], [], [], ["next"]]


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
    assert len([task_id for number in range(95) for task_id in starts(house.submit(f"t{number}"))]) == 95


def test_one_that_wants_more_cpus_than_there_are_runs_alone(house: "Core") -> None:
    teach(house, *[1] * 6, wall=11, cpu=81, startup=1)
    measure(house, 900)
    assert [starts(house.submit(f"t{number}")) for number in range(2)] == [["t0"], []]


def test_all_hosts_have_the_same_cpus(house: "Core") -> None:
    house.attach("host-2")
    teach(house, *[1] * 6, wall=11, cpu=10, startup=1)
    for host in (HOST, "host-2"):
        measure(house, 900, host=host)
    assert len([task_id for number in range(9) for task_id in starts(house.submit(f"t{number}"))]) == 4


def test_cpus_are_looked_at_where_memory_is_not(house: "Core") -> None:
    house.limit(memory_reserve_bytes=0)
    teach(house, *[1] * 6, wall=11, cpu=10, startup=1)
    measure(house, 0)
    assert len([task_id for number in range(9) for task_id in starts(house.submit(f"t{number}"))]) == 4


@pytest.mark.parametrize(
    ("runs", "wall", "cpu", "startup", "cores"),
    [(6, 3, 1.5, 1, 0.25), (6, 1.5, 1.2, 0.9, 0.8), (4, 11, 10, 1, 0), (5, 11, 10, 1, 0.9)],
)
def test_of_a_long_run_its_start_does_not_count(  # figures of one table
    house: "Core", runs: int, wall: float, cpu: float, startup: float, cores: float
) -> None:
    teach(house, *[1] * runs, wall=wall, cpu=cpu, startup=startup)
    assert expected_cores(house.state, "b") == pytest.approx(cores, rel=0.03)


def test_what_most_runs_keep_busy_counts(house: "Core") -> None:
    teach(house, *[1] * 4, wall=11, cpu=3, startup=1)
    teach(house, *[1] * 2, wall=11, cpu=10, startup=1)
    assert expected_cores(house.state, "b") == pytest.approx(0.2, rel=0.03)


def pressure(scope: int, full: float) -> pb.Pressure:
    return pb.Pressure(scope=scope, memory_full=full)


def test_nothing_is_started_while_what_runs_stalls(house: "Core") -> None:
    house.submit("t0")
    measure(house, 900, pressure=pressure(pb.PRESSURE_SCOPE_CGROUP, 0.3))
    assert starts(house.submit("t1")) == []
    assert gate(house, "t1") == ("PRESSURE", "what runs waits for memory 30% of the time")
    assert starts(measure(house, 900, pressure=pressure(pb.PRESSURE_SCOPE_CGROUP, 0.01))) == ["t1"]


@pytest.mark.parametrize(("full", "launched"), [(0.09, ["t1"]), (0.1, [])])
def test_a_tenth_of_the_time_is_too_much(house: "Core", full: float, launched: list[str]) -> None:
    house.submit("t0")
    measure(house, 900, pressure=pressure(pb.PRESSURE_SCOPE_CGROUP, full))
    assert starts(house.submit("t1")) == launched


def test_where_nothing_runs_nothing_stalls(house: "Core") -> None:
    measure(house, 900, pressure=pressure(pb.PRESSURE_SCOPE_CGROUP, 0.9))
    assert starts(house.submit("t0")) == ["t0"]


@pytest.mark.parametrize(("free", "launched"), [(110, ["t1"]), (99, [])])
def test_memory_is_short_when_less_than_a_tenth_is_free(house: "Core", free: int, launched: list[str]) -> None:
    teach(house, *[1] * 5)
    house.submit("t0")
    measure(house, free, headroom_bytes=MIB, pressure=pressure(pb.PRESSURE_SCOPE_MACHINE, 0.9))
    assert starts(house.submit("t1")) == launched


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


def test_without_ageing_priority_always_wins(core: "Core") -> None:
    limit(core, priority_ageing_seconds=0)
    core.submit("old")
    core.now_ns += 10**6 * SECOND
    core.submit("new", priority=1)
    assert starts(core.attach()) == ["new", "old"]


def test_within_a_tenant_priority_counts_over_all_behaviours(house: "Core") -> None:
    limit(house, concurrency=1)
    house.submit("t1")
    house.submit("t2", behaviour="c")
    house.submit("t3", behaviour="d", priority=1)
    house.cancel("t1")
    assert starts(house.exited("t1")) == ["t3"]


def test_weights_are_those_of_the_limits() -> None:
    state = State(Limits(tenant_weights={"a": 3.0}), str, lambda: 1.0)
    assert (state.shares.weight("a"), state.shares.weight("b")) == (3, 1)


@pytest.mark.parametrize("limits", [{"tenant_limits": {"A": 1}}, {"behaviour_limits": {"b": 1}}])
def test_who_outlives_a_coordinator_counts_with_the_next_one(house: "Core", limits: dict[str, dict[str, int]]) -> None:
    limit(house, **limits)
    house.run("t1", tenant="A")
    house.restart()
    house.attach(inventory=[("t1", 1)])
    assert starts(house.submit("t2", tenant="A")) == []


@pytest.mark.parametrize("limits", [{"tenant_limits": {"A": 0}}, {"behaviour_limits": {"b": 0}}])
def test_a_limit_of_zero_lets_nothing_start(house: "Core", limits: dict[str, dict[str, int]]) -> None:
    limit(house, **limits)
    assert starts(house.submit("t1", tenant="A")) == []
