"""Reads every sentence that a person would read: for each gate, for each outcome, for each end."""

from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.duration_pb2 import Duration
from hundredfold.errors import StoreUnreachable
from hundredfold.internal.v1 import host_service_pb2
from hundredfold.v1 import attempt_pb2, policy_pb2, task_pb2
from hundredfold.v1 import coordinator_service_pb2 as pb
from hundredfold_coordinator.core import events, lifecycle
from hundredfold_coordinator.core.change import enqueue
from hundredfold_coordinator.core.explanation import attempt_summary, explain
from hundredfold_coordinator.core.state import Limits, State

if TYPE_CHECKING:
    from tests.unit.core.conftest import Core

HOST = "host-1"
MIB = 1 << 20
SECOND = 1_000_000_000


def told(core: "Core", task_id: str) -> pb.ExplainTaskResponse:
    return explain(core.state, core.stored(task_id), core.now_ns)


def machine(core: "Core", free: int = 900, **fields: Any) -> None:
    figures = {"memory_total_bytes": 1000 * MIB, "headroom_bytes": 100 * MIB, "cpu_count": 2, **fields}
    core.tell(events.MachineMeasured, host=HOST, machine=pb.Machine(memory_free_bytes=free * MIB, **figures))


def learn(core: "Core", mebibytes: int, cores: float) -> None:
    """Let six runs end that have used so much."""
    for number in range(6):
        core.complete(core.run(f"lesson{number}"))
        cpu = Duration(nanos=int((1 + 10 * cores) * 1e8)) if cores < 0.9 else Duration(seconds=int(1 + 10 * cores))
        core.exited(
            f"lesson{number}",
            peak_pss_bytes=mebibytes * MIB,
            wall_time=Duration(seconds=11),
            cpu_time=cpu,
            startup_cpu_time=Duration(seconds=1),
        )


# Gates ----------------------------------------------------------------------------------------------------------------


def close(core: "Core", gate: str) -> str:
    """Close a gate, and submit a task that waits at it; return the task."""
    limits: dict[str, Any] = {}
    if gate in ("CONCURRENCY", "TENANT_LIMIT", "BEHAVIOUR_LIMIT", "POOL"):
        limits = {
            "CONCURRENCY": {"concurrency": 1},
            "TENANT_LIMIT": {"tenant_limits": {"": 1}},
            "BEHAVIOUR_LIMIT": {"behaviour_limits": {"b": 1}},
            "POOL": {"pool_size": 1},
        }[gate]
    core.limit(memory_reserve_bytes=1, **limits)
    if gate == "CPU":
        learn(core, 1, 1.0)
    machine(core)
    for number in range({"CPU": 4, "RAMP": 4}.get(gate, 1)):
        core.submit(f"before{number}", session="s")
        core.state.queue.release(f"before{number}", "s")
    spec = WAITS.get(gate, {})
    if gate == "SESSION_BUSY":
        core.state.queue.reserve("before0", "s")
    elif gate == "POOL":
        core.submit("busy", **spec)
    elif gate == "NO_HOST":
        core.tell(events.HostDetached, host=HOST)
    elif gate == "PRESSURE":
        machine(core, pressure=pb.Pressure(scope=pb.PRESSURE_SCOPE_CGROUP, memory_full=0.25))
    core.submit("t1", **spec)
    return "t1"


WAITS: dict[str, dict[str, Any]] = {
    "SESSION_BUSY": {"session": "s"},
    "POOL": {"strategy": task_pb2.STRATEGY_POOL},
    "MEMORY": {"limits": policy_pb2.Limits(memory_bytes=900 * MIB)},
    "DELAYED": {"not_before": {"seconds": 10}},
    "ENVIRONMENT": {"environment": "other"},
}
"""What a task asks for that waits at a gate, as far as that matters."""

SENTENCES = {
    "CONCURRENCY": "1 of 1 attempts are alive (`concurrency`)",
    "SESSION_BUSY": "task before0 has session 's'",
    "NO_HOST": "no host is connected yet",
    "ENVIRONMENT": "environment 'other' is not ready",
    "MEMORY": "it needs 900 MiB (its declared limit: too few runs have ended); 900 MiB are free, of which 64 MiB are "
    "set aside for what runs and 100 MiB kept in reserve, and 0 MiB more are used a second",
    "DELAYED": "it may start at 1970-01-01 00:00:10 UTC",
    "CPU": "it keeps 1.0 CPUs busy; those that run want 3.9, and 4 are allowed on 2 CPUs",
    "PRESSURE": "what runs waits for memory 25% of the time",
    "RAMP": "nobody knows what its behaviour needs; those just started are looked at first",
    "POOL": "its pool has as many workers as `pool_size` allows, 1, and all are busy",
    "TENANT_LIMIT": "tenant '' has 1 attempt alive, and `tenant_limits` allows it 1",
    "BEHAVIOUR_LIMIT": "behaviour 'b' has 1 attempt alive, and `behaviour_limits` allows it 1",
}


@pytest.mark.parametrize("gate", SENTENCES)
def test_a_gate_is_explained(house: "Core", gate: str) -> None:
    found = told(house, close(house, gate))
    assert found.state == lifecycle.QUEUED
    assert found.summary.startswith(f"It waits at gate {gate}: {SENTENCES[gate]}.")
    assert task_pb2.GateKind.Name(found.gate.kind) == f"GATE_KIND_{gate}"


@pytest.mark.parametrize(
    ("gate", "sentence"),
    [
        ("DRAINING", "the coordinator is stopping; the next one starts it"),
        ("STORE_FULL", "the store is full; the room that is left is kept for what runs"),
        ("STORE_UNREACHABLE", "the store does not answer: refused"),
        ("SUSPECT", "it was there 2 times when its host was lost"),
    ],
)
def test_a_gate_that_closes_behind_a_task_is_explained(core: "Core", gate: str, sentence: str) -> None:
    core.submit("t1")
    record = core.state.tasks["t1"]
    if gate == "DRAINING":
        core.tell(events.DrainBegan, reply=None)
    elif gate == "STORE_UNREACHABLE":
        core.tell(events.StoreOutageChanged, error=StoreUnreachable("postgresql://h", "refused", 2))
    elif gate == "STORE_FULL":
        core.tell(events.StoreRoomChanged, full=True)
    else:
        core.state.suspects.update(("x", number) for number in range(1000))
        for number in (1, 2):
            record.task.attempts.add(number=number, outcome=attempt_pb2.ATTEMPT_OUTCOME_HOST_LOST)
        enqueue(core.state, record)
        core.attach()
    assert told(core, "t1").summary.startswith(f"It waits at gate {gate}: {sentence}.")


def test_every_gate_has_its_sentence() -> None:
    gates = {name.removeprefix("GATE_KIND_") for name in task_pb2.GateKind.DESCRIPTOR.values_by_name} - {"UNSPECIFIED"}
    assert gates == SENTENCES.keys() | {"DRAINING", "STORE_FULL", "STORE_UNREACHABLE", "SUSPECT"}


def test_who_waits_is_told_its_position_and_when_it_may_start(house: "Core") -> None:
    house.limit(concurrency=1)
    for number in range(5):
        house.submit(f"t{number}")
    assert told(house, "t4").position == 4
    for number in range(3):
        house.now_ns += SECOND
        house.exited(f"t{number}")
        house.cancel(f"t{number}")
    found = told(house, "t4")
    assert found.position == 1
    assert 0 < found.estimated_wait.ToNanoseconds() < 5 * SECOND
    house.submit("t5")
    assert told(house, "t5").estimated_wait.ToNanoseconds() == pytest.approx(2 * found.estimated_wait.ToNanoseconds())
    assert "It is number 1 of those that wait, and starts in about 1 s if" in found.summary


def test_nobody_guesses_how_long_those_take_that_have_only_begun(house: "Core") -> None:
    house.limit(concurrency=2)
    for number in range(3):
        house.submit(f"t{number}")
    house.now_ns += 20 * SECOND
    assert not told(house, "t2").HasField("estimated_wait")


def test_what_was_learned_says_how_long_they_take(house: "Core") -> None:
    house.limit(concurrency=2)
    learn(house, 1, 0.0)
    for number in range(4):
        house.submit(f"t{number}")
    assert told(house, "t3").estimated_wait.ToSeconds() == pytest.approx(11, rel=0.1)


@pytest.mark.parametrize("gate", ["TENANT_LIMIT", "BEHAVIOUR_LIMIT", "ENVIRONMENT", "NO_HOST", "PRESSURE"])
def test_when_a_gate_opens_that_does_not_open_by_itself_is_not_guessed(house: "Core", gate: str) -> None:
    task_id = close(house, gate)
    house.now_ns += 3 * SECOND
    assert not told(house, task_id).HasField("estimated_wait")


def test_other_tenants_have_their_shares_of_the_positions(house: "Core") -> None:
    house.limit(concurrency=1)
    for number in range(11):
        house.submit(f"a{number:02}", tenant="A")
    house.submit("b", tenant="B")
    assert told(house, "b").position == 2, "A's first one may come before"
    assert told(house, "a10").position == 11, "B's only one comes before"


def test_the_shares_of_others_are_by_weight(core: "Core") -> None:
    core.state = State(Limits(tenant_weights={"A": 3.0}), str, lambda: 1.0)
    for number in range(11):
        core.submit(f"a{number:02}", tenant="A")
        core.submit(f"b{number:02}", tenant="B")
    assert told(core, "b01").position == 8, "six of A for the two of B"
    assert told(core, "a02").position == 4


def test_who_is_gone_is_not_ahead(core: "Core") -> None:
    for number in range(3):
        core.submit(f"t{number}")
    core.cancel("t1")
    assert told(core, "t2").position == 2


def test_who_waits_for_a_session_is_told_its_place_in_the_line(house: "Core") -> None:
    for number in range(4):
        house.submit(f"t{number}", session="s")
    assert [told(house, f"t{number}").position for number in (1, 3)] == [1, 3]


# Attempts -------------------------------------------------------------------------------------------------------------

MESSAGES = {
    "COMPLETED": "Attempt 1 completed.",
    "RAISED": "Attempt 1 raised an exception: why.",
    "EXITED": "Attempt 1 exited before it had delivered: why.",
    "SIGNALLED": "Attempt 1 was ended by a signal: why.",
    "CANCELLED": "Attempt 1 was cancelled: why.",
    "DRAINED": "Attempt 1 was given back to the queue when the coordinator stopped: why.",
    "HOST_LOST": "Attempt 1 was lost with its host: why.",
    "LAUNCH_FAILED": "Attempt 1 could not be started: why.",
    "INVALID_INPUT": "Attempt 1 found its input invalid: why.",
    "PROTOCOL_VIOLATION": "Attempt 1 broke the protocol: why.",
    "TIMED_OUT": "Attempt 1 took too long: why.",
    "OOM_KILLED": "Attempt 1 used too much memory: why.",
    "EVICTED": "Attempt 1 was evicted to save the machine: why.",
    "FENCED": "Attempt 1 was given up: why.",
    "CONFLICT": "Attempt 1 came too late for its session: why.",
    "DROPPED": "Attempt 1 was dropped: why.",
}


@pytest.mark.parametrize("outcome", MESSAGES)
def test_an_end_is_explained(outcome: str) -> None:
    attempt = attempt_pb2.Attempt(number=1, outcome=f"ATTEMPT_OUTCOME_{outcome}", reservation_bytes=64 * MIB)
    if outcome != "COMPLETED":
        attempt.failure.message = "why"
    assert attempt_summary(attempt) == MESSAGES[outcome]
    attempt.receipt.containment = attempt_pb2.CONTAINMENT_SESSION
    assert attempt_summary(attempt) == MESSAGES[outcome] + " What it used is not known: nobody saw its end."
    attempt.receipt.exit_time.GetCurrentTime()
    attempt.receipt.peak_pss_bytes = 120 * MIB
    attempt.receipt.wall_time.FromMilliseconds(3200)
    attempt.receipt.cpu_time.FromMilliseconds(500)
    used = " It ran 3.2 s and used 0.5 s of CPU and at most 120 MiB of memory, with 64 MiB set aside for it."
    assert attempt_summary(attempt) == MESSAGES[outcome] + used


def test_what_a_process_used_that_went_on_is_not_made_up() -> None:
    attempt = attempt_pb2.Attempt(number=1, outcome=attempt_pb2.ATTEMPT_OUTCOME_COMPLETED)
    attempt.receipt.process_stays = True
    attempt.receipt.exit_time.GetCurrentTime()
    attempt.receipt.wall_time.FromMilliseconds(3200)
    attempt.receipt.cpu_time.FromMilliseconds(500)
    assert attempt_summary(attempt) == (
        "Attempt 1 completed. It ran 3.2 s and used 0.5 s of CPU, in process 0, which went on to others."
    )


def test_every_outcome_has_its_sentence() -> None:
    outcomes = {
        name.removeprefix("ATTEMPT_OUTCOME_") for name in attempt_pb2.AttemptOutcome.DESCRIPTOR.values_by_name
    } - {"UNSPECIFIED"}
    assert outcomes == MESSAGES.keys()


def test_what_runs_is_explained(house: "Core") -> None:
    house.run("t1")
    house.launched("t1", pid=77)
    house.now_ns += 3 * SECOND
    assert told(house, "t1").summary == (
        "Attempt 1 has run for 3.0 s on host-1, as process 77; 64 MiB were set aside for it."
    )
    assert told(house, "t1").attempts[0].summary == "Attempt 1 runs; 64 MiB were set aside for it."
    usage = host_service_pb2.AttemptUsage(
        attempt=host_service_pb2.AttemptKey(task_id="t1", number=1), pss_bytes=9 * MIB
    )
    house.tell(events.MachineMeasured, host=HOST, machine=pb.Machine(), attempts=[usage])
    assert told(house, "t1").summary.endswith("it uses 9 MiB, and 64 MiB were set aside for it.")


def test_what_is_being_started_is_explained(house: "Core") -> None:
    house.submit("t1")
    assert told(house, "t1").summary.startswith("Attempt 1 has been on its way for 0.0 s on host-1;")


# Tasks ----------------------------------------------------------------------------------------------------------------


def test_a_success_is_explained(house: "Core") -> None:
    house.complete(house.run("t1"))
    assert told(house, "t1").summary == "It is SUCCEEDED, 0.0 s after its submission and after 1 attempt."


def test_a_dead_letter_says_how_to_try_again(house: "Core") -> None:
    house.run("t1", retry=policy_pb2.RetryPolicy(max_attempts=1))
    house.exited("t1", exit_code=3)
    assert told(house, "t1").summary == (
        "It is FAILED, 0.0 s after its submission and after 1 attempt: the agent exited with code 3 before it "
        "delivered a result. It is a dead letter (RETRIES_EXHAUSTED); `hundredfold retry t1` tries it again."
    )


def test_a_cancelled_one_says_who_wanted_it(core: "Core") -> None:
    core.submit("t1")
    core.cancel("t1", "because")
    assert told(core, "t1").summary.endswith("after its submission: because.")


def test_the_most_that_anybody_saw_is_what_was_used() -> None:
    attempt = attempt_pb2.Attempt(number=1, outcome=attempt_pb2.ATTEMPT_OUTCOME_EVICTED)
    attempt.receipt.exit_time.GetCurrentTime()
    attempt.receipt.peak_pss_bytes, attempt.receipt.max_private_bytes = 100 * MIB, 240 * MIB
    assert "at most 240 MiB of memory" in attempt_summary(attempt)


def test_who_was_ended_for_a_limit_was_not_ended_by_a_signal() -> None:
    attempt = attempt_pb2.Attempt(number=1, outcome=attempt_pb2.ATTEMPT_OUTCOME_SIGNALLED)
    attempt.failure.message = "it wrote more than its limit of 10 bytes of output"
    attempt.receipt.kill_cause = attempt_pb2.KILL_CAUSE_OUTPUT_LIMIT
    assert attempt_summary(attempt).startswith("Attempt 1 was ended: it wrote more than")


def test_a_host_that_is_silent_is_named_where_it_matters(house: "Core") -> None:
    house.submit("t1")
    house.tell(events.HostHeard, host=HOST, silent=True)
    assert "which has not been heard of for some seconds" in told(house, "t1").summary
    assert "process" not in told(house, "t1").summary, "it is not known yet"
