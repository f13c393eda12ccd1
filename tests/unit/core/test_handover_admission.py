"""Shows what a worker that stays may take: whose limits it has, what fits, and for whom it makes room."""

from typing import TYPE_CHECKING

import pytest
from figures import MIB, SECOND, gate, measure, teach
from hundredfold.v1 import policy_pb2, task_pb2
from hundredfold_coordinator.core import effects, events
from hundredfold_coordinator.core.resident import Next
from hundredfold_coordinator.core.state import attempt_id
from residents import POOL, STATEFUL, ask, begin, deliver, given

if TYPE_CHECKING:
    from tests.unit.core.conftest import Core

LARGE = policy_pb2.Limits(memory_bytes=300 * MIB)


# Limits ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["memory_bytes", "processes", "descriptors"])
def test_nobody_is_given_a_worker_with_other_limits_than_its_own(house: "Core", field: str) -> None:
    house.limit(pool_size=1)
    few, many = (policy_pb2.Limits(**{field: most}) for most in (64 * MIB, 128 * MIB))
    begin(house, limits=few)
    house.submit("same", strategy=POOL, limits=few)
    for limits in (many, policy_pb2.Limits()):
        assert house.submit(str(limits), strategy=POOL, limits=limits).one(effects.Launch).limits == limits
    house.submit("other", strategy=POOL, limits=many, priority=9)
    assert given(deliver(house, "t1")) == "same"


def test_a_long_lived_agent_takes_all_that_is_its_own_whatever_limits_that_has(house: "Core") -> None:
    house.limit(pool_size=1)
    begin(house, "t1", STATEFUL, limits=policy_pb2.Limits(memory_bytes=64 * MIB))
    house.submit("t2", strategy=STATEFUL, limits=policy_pb2.Limits(memory_bytes=128 * MIB))
    assert given(deliver(house, "t1")) == "t2"


# CPUs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [POOL, STATEFUL])
def test_workers_that_wait_keep_no_cpus_busy_and_those_that_are_given_something_do(
    house: "Core", strategy: task_pb2.Strategy.ValueType
) -> None:
    house.limit(pool_size=4, memory_reserve_bytes=1)
    measure(house, 900)
    teach(house, *[10] * 10, cpu=1.0, startup=0.0)
    agents = {name: begin(house, name, strategy) for name in ("t0", "t1", "t2", "t3")}
    assert house.submit("early").all(effects.Launch) == [], "two for each of two CPUs"
    house.cancel("early")
    for name, credential in agents.items():
        deliver(house, name)
        ask(house, credential, name)
    assert [len(house.submit(f"fresh{number}").all(effects.Launch)) for number in range(5)] == [1, 1, 1, 1, 0]
    house.submit("again", strategy=strategy, priority=9)
    assert gate(house, "again")[0] == "CPU"
    house.complete(house.newest("fresh0")[0])
    answers = {one.to: one.value for one in house.exited("fresh0").all(effects.Reply)}
    assert attempt_id(answers["t0"].record) == ("again", 1)


# Memory ---------------------------------------------------------------------------------------------------------------


def test_what_was_set_aside_for_a_worker_is_so_again_when_its_host_is_back(house: "Core") -> None:
    house.limit(pool_size=1, memory_reserve_bytes=1)
    measure(house, 900)
    begin(house)
    house.submit("t2", strategy=POOL)
    deliver(house, "t1")
    assert house.stored("t2").task.attempts[0].reservation_bytes == 64 * MIB
    house.restart()
    house.attach(inventory=[("t1", 1)])
    assert house.state.hosts["host-1"].outstanding_bytes == 64 * MIB
    house.submit("t3", strategy=POOL)
    deliver(house, "t2")
    assert house.stored("t3").task.attempts[0].reservation_bytes == 64 * MIB


def rested(house: "Core") -> None:
    """Have a worker wait that may use 300 MiB, uses 100, and was launched a minute ago."""
    house.limit(pool_size=1, memory_reserve_bytes=1)
    measure(house, 900)
    credential = begin(house, limits=LARGE)
    deliver(house, "t1")
    ask(house, credential)
    house.now_ns += 60 * SECOND
    measure(house, 300, {"t1": 100})


def test_a_worker_waits_for_what_its_next_attempt_may_need_beyond_what_it_uses(house: "Core") -> None:
    rested(house)
    assert house.submit("fresh").one(effects.Launch)
    told = house.submit("t2", strategy=POOL, limits=LARGE)
    assert [reply.to for reply in told.all(effects.Reply)] == ["client"]
    assert gate(house, "t2") == (
        "MEMORY",
        "its worker may need 200 MiB more than it uses, and 75 MiB may still be set aside",
    )
    (answer,) = measure(house, 430, {"t1": 100}).all(effects.Reply)
    assert attempt_id(answer.value.record) == ("t2", 1)
    assert house.state.hosts["host-1"].outstanding_bytes == (200 + 125) * MIB
    assert house.submit("late").all(effects.Launch) == [], "430 less 100 are given away"


def test_a_worker_beside_which_nobody_is_at_work_waits_for_no_memory(house: "Core") -> None:
    rested(house)
    measure(house, 150, {"t1": 100})
    answers = {one.to: one.value for one in house.submit("t2", strategy=POOL, limits=LARGE).all(effects.Reply)}
    assert attempt_id(answers["asking"].record) == ("t2", 1)


def test_a_worker_that_has_all_it_was_made_with_is_given_the_next_attempt_however_little_is_free(house: "Core") -> None:
    house.limit(pool_size=1, memory_reserve_bytes=1)
    measure(house, 900)
    begin(house, limits=LARGE)
    house.submit("fresh")
    house.submit("t2", strategy=POOL, limits=LARGE)
    measure(house, 50, {"t1": 100})
    assert given(deliver(house, "t1")) == "t2"


# Room for others ------------------------------------------------------------------------------------------------------


def test_who_has_something_to_do_does_not_make_room(house: "Core") -> None:
    house.limit(pool_size=1, memory_reserve_bytes=1)
    measure(house, 900)
    begin(house)
    house.submit("big", limits=policy_pb2.Limits(memory_bytes=100_000 * MIB), priority=50)
    for number in (2, 3):
        house.submit(f"t{number}", strategy=POOL)
    told = deliver(house, "t1")
    assert given(told) == "t2"
    assert told.all(effects.Launch) == []
    assert given(deliver(house, "t2")) == "t3"
    assert deliver(house, "t3").reply == Next(stay=False)


def test_who_could_begin_but_for_a_silent_host_does_not_make_room(house: "Core") -> None:
    house.limit(pool_size=1, memory_reserve_bytes=1)
    measure(house, 900)
    house.attach("host-2")
    measure(house, 900, host="host-2")
    credential = begin(house)
    deliver(house, "t1")
    ask(house, credential)
    house.tell(events.HostHeard, host="host-1", silent=True)
    house.submit("fresh")
    house.submit("t2", strategy=POOL)
    told = house.submit("big", limits=policy_pb2.Limits(memory_bytes=100_000 * MIB), priority=50)
    assert {reply.to for reply in told.all(effects.Reply)} == {"client"}
    heard = house.tell(events.HostHeard, host="host-1", silent=False)
    assert given(heard) == "t2"


def test_behind_a_task_that_nobody_passes_any_more_the_workers_make_room_too(house: "Core") -> None:
    house.limit(pool_size=1, memory_reserve_bytes=1)
    measure(house, 900)
    begin(house)
    house.submit("big", limits=policy_pb2.Limits(memory_bytes=100_000 * MIB), priority=50)
    house.submit("t2", strategy=POOL)
    house.now_ns += 31 * SECOND
    told = deliver(house, "t1")
    assert house.state.unpassed == "big"
    assert (told.reply, told.all(effects.Launch)) == (Next(stay=False), [])
    assert house.exited("t1", attempt=("t1", 1)).one(effects.Launch).attempt == ("big", 1)
