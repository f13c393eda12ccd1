"""Shows that tasks are counted by state and gate, and that counting them costs no more when there are many."""

import time
from collections import Counter
from typing import TYPE_CHECKING

from hundredfold.v1 import policy_pb2, task_pb2
from hundredfold_coordinator.core import census, events, lifecycle, scheduler

if TYPE_CHECKING:
    from tests.unit.core.conftest import Core


def by_looking_at_each(core: "Core") -> Counter[task_pb2.GateKind.ValueType]:
    queued = [record for record in core.state.tasks.values() if record.task.state == lifecycle.QUEUED]
    return Counter(scheduler.gate(core.state, record).kind for record in queued)


def test_every_task_is_counted_where_it_is(house: "Core") -> None:
    house.limit(concurrency=2, behaviour_limits={"few": 0})
    house.complete(house.run("t0"))
    house.exited("t0")
    house.run("t1", session="s")
    house.submit("t2")
    house.submit("t3", session="s")
    house.submit("t4", behaviour="few")
    house.submit("t5", session="s")
    assert census.states(house.state) == {
        lifecycle.SUCCEEDED: 1,
        lifecycle.RUNNING: 1,
        lifecycle.LAUNCHING: 1,
        lifecycle.QUEUED: 3,
    }
    assert census.gates(house.state) == {task_pb2.GATE_KIND_SESSION_BUSY: 2, task_pb2.GATE_KIND_CONCURRENCY: 1}
    assert census.gates(house.state) == by_looking_at_each(house)


def test_one_that_waits_for_its_time_is_counted_as_that(house: "Core") -> None:
    house.fail(house.run("t1", retry=policy_pb2.RetryPolicy(max_attempts=2)))
    assert census.gates(house.state) == by_looking_at_each(house) == {task_pb2.GATE_KIND_DELAYED: 1}
    house.mature("t1")
    assert census.gates(house.state) == by_looking_at_each(house) == {}


def test_nobody_is_counted_who_was_cancelled(house: "Core") -> None:
    house.limit(concurrency=1)
    house.run("t1", session="s")
    for task_id in ("t2", "t3"):
        house.submit(task_id, session="s")
    house.submit("t4")
    for task_id in ("t2", "t4"):
        house.cancel(task_id)
    assert census.gates(house.state) == by_looking_at_each(house) == {task_pb2.GATE_KIND_SESSION_BUSY: 1}


def test_what_it_costs_does_not_grow_with_the_queue(house: "Core") -> None:
    house.limit(concurrency=1)
    house.run("t0")

    def cost() -> float:
        begin = time.perf_counter()
        assert census.states(house.state)[lifecycle.QUEUED] == census.gates(house.state).total()
        return time.perf_counter() - begin

    few = min(cost() for _ in range(20))
    for number in range(3000):
        house.submit(f"u{number}")
    assert min(cost() for _ in range(20)) < 50 * few


def test_a_gate_that_is_closed_for_all_is_named(core: "Core") -> None:
    core.submit("t1")
    assert census.gates(core.state) == {task_pb2.GATE_KIND_NO_HOST: 1}
    core.tell(events.DrainBegan, reply=None)
    assert census.gates(core.state) == {task_pb2.GATE_KIND_DRAINING: 1}
