"""Shows how many more would fit, and that as many are started."""

from typing import TYPE_CHECKING, Any

import pytest
from figures import HOST, MIB, SECOND, limit, measure, teach
from hundredfold.v1 import coordinator_service_pb2 as pb
from hundredfold.v1 import policy_pb2, task_pb2
from hundredfold_coordinator.core import effects
from hundredfold_coordinator.core.fit import fit

if TYPE_CHECKING:
    from tests.unit.core.conftest import Core


@pytest.fixture
def house(house: "Core") -> "Core":
    """A house that looks at memory."""
    limit(house)
    return house


def fits(core: "Core", **fields: Any) -> tuple[int, str]:
    """Return how many fit, and the gate; what is said must come true, so let as many start."""
    wanted = {"behaviour": "b", "environment": "default", **fields}
    answer = fit(core.state, pb.FitRequest(**wanted))
    known = len(core.state.tasks)
    started = [core.submit(f"more{known}-{number:03}", **wanted) for number in range(answer.count + 1)]
    assert sum(len(told.all(effects.Launch)) for told in started) == answer.count, answer.gate.detail
    return answer.count, task_pb2.GateKind.Name(answer.gate.kind).removeprefix("GATE_KIND_")


def sentence(core: "Core") -> str:
    return fit(core.state, pb.FitRequest(behaviour="b", environment="default")).gate.detail


def test_bytes_are_counted(house: "Core") -> None:
    teach(house, *[100] * 6)
    measure(house, 550)
    assert sentence(house) == "450 MiB may still be set aside, and each needs 99.4 MiB"
    assert fits(house) == (4, "MEMORY")
    assert fits(house) == (0, "MEMORY")


def test_it_is_told_what_each_needs_and_why(house: "Core") -> None:
    teach(house, *[100] * 6)
    answer = fit(house.state, pb.FitRequest(behaviour="b", environment="default"))
    assert (answer.reservation_bytes // MIB, answer.runs) == (99, 6)
    assert answer.detail == "95 of 100 of its last runs used less (6 runs)"


def test_limits_are_what_they_would_be_submitted_with(house: "Core") -> None:
    measure(house, 500)
    house.submit("t1", behaviour="other")
    assert fits(house, limits=policy_pb2.Limits(memory_bytes=150 * MIB)) == (2, "MEMORY")


def test_a_host_with_nothing_on_it_has_room_for_one(house: "Core") -> None:
    teach(house, *[5000] * 6, wall=11, cpu=91, startup=1)
    measure(house, 450)
    assert fits(house)[0] == 1


def test_where_strangers_have_it_all_nothing_fits(house: "Core") -> None:
    measure(house, 90)
    assert sentence(house) == "90 MiB are free, 100 MiB are kept in reserve"
    assert fits(house) == (0, "MEMORY")


def test_of_what_nobody_knows_a_few_fit(house: "Core") -> None:
    measure(house, 100_000)
    assert fits(house) == (16, "RAMP")
    assert fits(house) == (0, "RAMP")


def test_while_what_runs_stalls_nothing_fits(house: "Core") -> None:
    teach(house, *[1] * 5)
    house.submit("t0")
    measure(house, 900, pressure=pb.Pressure(scope=pb.PRESSURE_SCOPE_CGROUP, memory_full=0.3))
    assert sentence(house) == "what runs waits for memory 30% of the time"
    assert fits(house) == (0, "PRESSURE")


def test_while_nothing_may_pass_nothing_fits(house: "Core") -> None:
    teach(house, *[1] * 5)
    measure(house, 500)
    house.submit("t0")
    house.submit("large", behaviour="large", limits=policy_pb2.Limits(memory_bytes=450 * MIB))
    house.now_ns += 31 * SECOND
    measure(house, 500)
    assert sentence(house) == "task large has waited for memory so long that nothing passes it"
    assert fits(house) == (0, "MEMORY")


@pytest.mark.parametrize("running", [0, 3])
def test_cpus_are_counted(house: "Core", running: int) -> None:
    teach(house, *[1] * 6, wall=11, cpu=10, startup=1)
    measure(house, 900)
    for number in range(running):
        house.submit(f"t{number}")
    assert fits(house) == (4 - running, "CPU")


def test_what_keeps_no_cpu_busy_is_not_held_up_by_cpus(house: "Core") -> None:
    limit(house, concurrency=90)
    teach(house, *[1] * 6, wall=11, cpu=1.5, startup=1)
    measure(house, 900)
    assert fits(house) == (90, "CONCURRENCY")


def test_without_a_reserve_memory_is_not_looked_at(house: "Core") -> None:
    house.limit(memory_reserve_bytes=0, concurrency=5)
    measure(house, 0)
    assert fits(house) == (5, "CONCURRENCY")


def test_the_nearest_limit_is_named(house: "Core") -> None:
    house.limit(concurrency=9, tenant_limits={"A": 5}, behaviour_limits={"b": 3})
    house.submit("t1", tenant="A", behaviour="b")
    assert fits(house) == (2, "BEHAVIOUR_LIMIT")
    assert fits(house, behaviour="c", tenant="A") == (4, "TENANT_LIMIT")
    assert fits(house, behaviour="c") == (2, "CONCURRENCY")


def test_of_who_is_beyond_a_limit_none_fits(house: "Core") -> None:
    house.submit("t1")
    house.submit("t2")
    house.limit(behaviour_limits={"b": 1})
    assert fits(house) == (0, "BEHAVIOUR_LIMIT")


def test_where_nothing_may_start_nothing_fits(core: "Core") -> None:
    assert fits(core) == (0, "NO_HOST")
    core.attach(HOST, "other")
    assert fits(core) == (0, "ENVIRONMENT")
    core.state.draining = True
    answer = fit(core.state, pb.FitRequest(behaviour="b", environment="other"))
    assert (answer.count, answer.gate.kind) == (0, task_pb2.GATE_KIND_DRAINING)
