"""Shows what starts, where and when; and that everything that waits names the gate it waits at."""

from typing import TYPE_CHECKING

import pytest
from hundredfold.v1 import coordinator_service_pb2, policy_pb2, task_pb2
from hundredfold_coordinator import keys
from hundredfold_coordinator.core import effects, events, scheduler

if TYPE_CHECKING:
    from tests.unit.core.conftest import Core, Told

MIB = 1 << 20


def starts(told: "Told") -> list[str]:
    """Return the tasks that are launched, in order."""
    return [launch.attempt[0] for launch in told.all(effects.Launch)]


def gate(core: "Core", task_id: str) -> tuple[str, str]:
    """Return the gate a task waits at, and what is said about it."""
    found = scheduler.gate(core.state, core.state.tasks[task_id])
    return task_pb2.GateKind.Name(found.kind).removeprefix("GATE_KIND_"), found.detail


def measure(core: "Core", mebibytes: int, host: str = "host-1") -> "Told":
    machine = coordinator_service_pb2.Machine(
        memory_total_bytes=1 << 40, memory_free_bytes=mebibytes * MIB, headroom_bytes=100 * MIB, cpu_count=2
    )
    return core.tell(events.MachineMeasured, host=host, machine=machine)


# Launching ------------------------------------------------------------------------------------------------------------


def test_a_launch_follows_its_commit(house: "Core") -> None:
    told = house.submit("t1")
    record = house.stored("t1")
    assert record.task.state == task_pb2.TASK_STATE_LAUNCHING
    assert [(a.number, a.host, a.launch_time.ToNanoseconds()) for a in record.task.attempts] == [
        (1, "host-1", house.now_ns)
    ]
    launch = told.one(effects.Launch)
    assert (launch.host, launch.attempt, launch.environment, launch.behaviour) == ("host-1", ("t1", 1), "default", "b")
    assert keys.task("t1") in told.writes, "what is launched is in the batch that comes before it"


def test_a_secret_is_never_written(house: "Core") -> None:
    credential = house.submit("t1", session="s").one(effects.Launch).credential
    house.launched("t1")
    house.take(credential)
    house.cancel("t1")
    house.tell(events.HostLost, host="host-1")
    assert credential in house.minted
    assert house.written
    for write in house.written:
        assert b"secret" not in write.key
        assert b"secret" not in (write.value or b"")


def test_every_attempt_has_a_secret_of_its_own(house: "Core") -> None:
    first = house.submit("t1").one(effects.Launch)
    second = house.launch_failed("t1").one(effects.Launch)
    other = house.submit("t2").one(effects.Launch)
    assert len({first.credential, second.credential, other.credential}) == 3
    assert len(house.state.credentials) == 2, "that of the first attempt is void"


def test_the_oldest_starts_first(core: "Core") -> None:
    for task_id in ("t2", "t1", "t3"):
        core.submit(task_id)
    assert starts(core.attach()) == ["t1", "t2", "t3"]


def test_an_end_lets_the_next_one_start(house: "Core") -> None:
    house.limit(concurrency=1)
    house.run("t1")
    house.submit("t2")
    assert starts(house.complete(("t1", 1))) == [], "the process of the first may still be there"
    assert starts(house.exited("t1")) == ["t2"]


def test_no_more_are_alive_than_may_be(house: "Core") -> None:
    house.limit(concurrency=3)
    launched = [task_id for number in range(5) for task_id in starts(house.submit(f"t{number}"))]
    assert launched == ["t0", "t1", "t2"]
    assert len(house.state.alive) == 3
    house.tell(events.HostDetached, host="host-1")
    assert starts(house.attach("host-2")) == [], "what cannot be seen counts, too"


# Sessions -------------------------------------------------------------------------------------------------------------


def test_a_session_runs_one_task_at_a_time(house: "Core") -> None:
    assert starts(house.submit("t1", session="s")) == ["t1"]
    assert starts(house.submit("t2", session="s")) == []
    assert starts(house.submit("t3", session="other")) == ["t3"]
    assert starts(house.submit("t4")) == ["t4"]


def test_a_result_frees_its_session_at_once(house: "Core") -> None:
    attempt = house.run("t1", session="s")
    house.submit("t2", session="s")
    assert starts(house.complete(attempt)) == ["t2"]


def test_a_session_is_not_freed_by_another_attempt(house: "Core") -> None:
    house.run("t1", session="s")
    house.submit("t2", session="s")
    told = house.launch_failed("t1")
    assert starts(told) == ["t1"]
    assert gate(house, "t2")[0] == "SESSION_BUSY"


# Where ----------------------------------------------------------------------------------------------------------------


def test_the_roomiest_host_is_chosen(house: "Core") -> None:
    house.submit("t1")
    house.submit("t2")
    house.attach("host-2")
    assert [house.submit(f"t{number}").one(effects.Launch).host for number in (3, 4, 5)] == ["host-2"] * 2 + ["host-1"]


def test_only_hosts_with_the_environment_are_chosen(core: "Core") -> None:
    core.attach("host-1", "default")
    core.attach("host-2", "other")
    for number in range(3):
        assert core.submit(f"d{number}").one(effects.Launch).host == "host-1"
    assert core.submit("o", environment="other").one(effects.Launch).host == "host-2"


def test_only_hosts_with_memory_are_chosen(house: "Core") -> None:
    house.limit(memory_reserve_bytes=100 * MIB)
    house.attach("host-2")
    measure(house, 99, "host-1")
    measure(house, 1000, "host-2")
    assert [house.submit(f"t{number}").one(effects.Launch).host for number in range(3)] == ["host-2"] * 3


def test_an_environment_that_is_not_ready_any_more_starts_nothing(house: "Core") -> None:
    house.tell(events.EnvironmentChanged, host="host-1", environment="default", ready=False)
    assert starts(house.submit("t1")) == []
    told = house.tell(events.EnvironmentChanged, host="host-1", environment="default", ready=True)
    assert starts(told) == ["t1"]


def test_a_launch_says_what_eviction_must_know(house: "Core") -> None:
    never = policy_pb2.RetryPolicy(rules=[policy_pb2.RetryRule(cause=policy_pb2.RETRY_CAUSE_EVICTED, max_attempts=1)])
    launches = [
        house.submit("t1", priority=7).one(effects.Launch),
        house.submit("t2", retry=never).one(effects.Launch),
    ]
    assert [(one.priority, one.evictable, one.reservation_bytes // MIB) for one in launches] == [
        (7, True, 64),
        (0, False, 64),
    ]


# Gates ----------------------------------------------------------------------------------------------------------------


def test_gate_no_host(core: "Core") -> None:
    core.submit("t1")
    assert gate(core, "t1") == ("NO_HOST", "no host is connected yet")


def test_gate_environment(house: "Core") -> None:
    house.submit("t1", environment="other")
    assert gate(house, "t1") == ("ENVIRONMENT", "environment 'other' is not ready")


def test_gate_concurrency(house: "Core") -> None:
    house.limit(concurrency=1)
    house.submit("t1")
    house.submit("t2")
    assert gate(house, "t2") == ("CONCURRENCY", "1 of 1 attempts are alive (`concurrency`)")


def test_gate_session_busy(house: "Core") -> None:
    house.submit("t1", session="s")
    house.submit("t2", session="s")
    assert gate(house, "t2") == ("SESSION_BUSY", "task t1 has session 's'")


def test_gate_memory(house: "Core") -> None:
    house.limit(memory_reserve_bytes=100 * MIB)
    measure(house, 60)
    assert starts(house.submit("t1")) == []
    assert gate(house, "t1") == ("MEMORY", "60 MiB are free, 100 MiB are kept in reserve")
    assert starts(measure(house, 100)) == ["t1"]


def test_gate_store_full(core: "Core") -> None:
    core.submit("t1")
    core.tell(events.StoreRoomChanged, full=True)
    assert starts(core.attach()) == []
    assert gate(core, "t1") == ("STORE_FULL", "the store is full; the room that is left is kept for what runs")
    assert starts(core.tell(events.StoreRoomChanged, full=False)) == ["t1"]


def test_gate_draining(house: "Core") -> None:
    house.limit(concurrency=1)
    house.submit("t1")
    house.submit("t2")
    house.tell(events.DrainBegan, reply=None)
    assert gate(house, "t2") == ("DRAINING", "the coordinator is stopping; the next one starts it")


@pytest.mark.parametrize("session", ["", "s"])
def test_who_is_next_in_a_session_waits_at_the_common_gate(core: "Core", session: str) -> None:
    core.submit("t1", session=session)
    core.submit("t2", session=session)
    assert gate(core, "t1")[0] == "NO_HOST"
    assert gate(core, "t2")[0] == ("SESSION_BUSY" if session else "NO_HOST")


def test_without_a_reserve_memory_is_not_looked_at(house: "Core") -> None:
    house.limit(memory_reserve_bytes=0)
    measure(house, 0)
    assert starts(house.submit("t1")) == ["t1"]


# Behaviours that are gone ---------------------------------------------------------------------------------------------


def has(house: "Core", *behaviours: str, failed: bool = False) -> "Told":
    """Let the default environment report what it has."""
    names = None if failed else frozenset(behaviours)
    return house.tell(events.EnvironmentChanged, host="host-1", environment="default", ready=True, behaviours=names)


def test_a_task_waits_for_the_plugin_that_has_its_behaviour(house: "Core") -> None:
    has(house, "other")
    assert house.submit("t1").all(effects.Launch) == []
    assert gate(house, "t1")[0] == "ENVIRONMENT"
    assert "has no behaviour 'b' any more; start the coordinator with the plugin that has it" in gate(house, "t1")[1]
    assert has(house, "other", "b").one(effects.Launch).behaviour == "b"


def test_of_an_environment_that_failed_its_host_says_why_nothing_starts(house: "Core") -> None:
    has(house, failed=True)
    assert house.submit("t1").one(effects.Launch)


def test_others_do_not_wait_for_a_behaviour_that_is_gone(house: "Core") -> None:
    has(house, "b")
    house.submit("t1", behaviour="gone")
    assert house.submit("t2").one(effects.Launch).attempt == ("t2", 1)


def test_it_is_started_where_its_behaviour_is(house: "Core") -> None:
    has(house)
    house.attach("host-2")
    assert house.submit("t1").one(effects.Launch).host == "host-2"


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("retiring", True, "host host-1 is of another version and takes no more"),
        ("silent", True, "host host-1 has not been heard of for some seconds"),
        ("exhausted", "no pids", "host host-1 can make no process just now: no pids"),
    ],
)
def test_gate_of_a_host_that_starts_nothing(house: "Core", field: str, value: object, sentence: str) -> None:
    setattr(house.state.hosts["host-1"], field, value)
    assert starts(house.submit("t1")) == []
    assert gate(house, "t1") == ("NO_HOST", sentence)
