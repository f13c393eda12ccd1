"""Ceilings, reservations, tenants, session policies, the door, and what is said of them, as clients see it."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hundredfold import Limits, Retry, Submission, SyncClient
from hundredfold.client import result_of
from hundredfold.errors import QueueFull, SessionBusy, UnknownBehaviour, UnknownTask
from hundredfold.testing.coordinator import CoordinatorProcess, eventually
from hundredfold.v1 import attempt_pb2, task_pb2

Start = Callable[..., CoordinatorProcess]
ONCE = Retry(max_attempts=1)
POLLING, RLIMIT = attempt_pb2.ENFORCER_POLLING, attempt_pb2.ENFORCER_RLIMIT
SUCCEEDED, CANCELLED = task_pb2.TASK_STATE_SUCCEEDED, task_pb2.TASK_STATE_CANCELLED
MIB = 1 << 20


def receipt_of(client: SyncClient, task_id: str) -> attempt_pb2.Receipt:
    eventually(lambda: client.get(task_id).attempts[-1].HasField("receipt"), what="the receipt")
    return client.get(task_id).attempts[-1].receipt


# Ceilings -------------------------------------------------------------------------------------------------------------


def test_cpu_time_has_a_ceiling(client: SyncClient) -> None:
    task = client.wait(client.submit("spin", limits=Limits(cpu_seconds=0.3), retry=ONCE).id, timeout_seconds=20)
    assert (task.failure.type, task.failure.message) == ("CpuLimit", "it used more than its limit of 0.3 s of CPU time")
    receipt = receipt_of(client, task.id)
    assert (receipt.kill_cause, receipt.cpu_enforcer) == (attempt_pb2.KILL_CAUSE_CPU_LIMIT, POLLING)
    assert receipt.effective_limits.cpu_time.ToMilliseconds() == 300


def test_output_has_a_ceiling(client: SyncClient) -> None:
    limits = Limits(output_bytes=1000)
    task = client.wait(client.submit("write_much", {"megabytes": 50}, limits=limits, retry=ONCE).id, timeout_seconds=20)
    assert (task.failure.type, task.failure.message) == (
        "OutputLimit",
        "it wrote more than its limit of 1000 bytes of output",
    )
    assert receipt_of(client, task.id).output_enforcer == POLLING


def test_descriptors_have_a_ceiling(client: SyncClient) -> None:
    task = client.wait(client.submit("open_many", {"number": 500}, limits=Limits(descriptors=64)).id)
    assert 40 < result_of(task) < 64
    receipt = receipt_of(client, task.id)
    assert (receipt.descriptor_enforcer, receipt.effective_limits.descriptors) == (RLIMIT, 64)
    assert result_of(client.wait(client.submit("open_many", {"number": 500}).id)) == 500


# What is learned ------------------------------------------------------------------------------------------------------


def test_the_second_run_uses_what_the_first_has_taught_and_so_does_the_next_coordinator(start: Start) -> None:
    process = start()
    with process.client() as client:
        lessons = [client.submit("nap", {"seconds": 2.5}).id for _ in range(6)]
        assert client.get(lessons[0]).attempts[0].reservation_bytes == 64 * MIB
        for task_id in lessons:
            client.wait(task_id)
            assert receipt_of(client, task_id).peak_pss_bytes > 0
        second = client.wait(client.submit("nap", {"seconds": 0}).id)
        assert 1 * MIB < second.attempts[0].reservation_bytes < 32 * MIB
        receipt_of(client, second.id)
        learned = client.fit("nap")  # it may have taught something, too
        client.drain(drain_seconds=5)
    process.wait()
    with start().client() as client:
        answer = client.fit("nap")
        assert (answer.reservation_bytes, answer.runs) == (learned.reservation_bytes, learned.runs)
        assert answer.runs >= 6
        assert (
            client.wait(client.submit("nap", {"seconds": 0}).id).attempts[0].reservation_bytes
            == learned.reservation_bytes
        )
        assert answer.count > 0


# Shares ---------------------------------------------------------------------------------------------------------------


def test_a_small_tenant_is_not_kept_waiting_by_a_large_one(start: Start) -> None:
    """`--concurrency 10`, A with 1,000 tasks, then B with 10, equal weights: B's tenth ends before A's hundredth."""
    with start("--concurrency", "10").client() as client:
        large = [Submission("nap", {"seconds": 0}, tenant="A") for _ in range(1000)]
        a = {task.id for task in client.submit_many(large)}
        b = {task.id for task in client.submit_many([Submission("nap", {"seconds": 0}, tenant="B")] * 10)}
        list(client.as_ended([*a, *b], timeout_seconds=60))
        ends = sorted((client.get(task_id).end_time.ToNanoseconds(), task_id in b) for task_id in (*a, *b))
        submitted = min(client.get(task_id).create_time.ToNanoseconds() for task_id in b)
        after = [is_b for when, is_b in ends if when > submitted]
        last = max(index for index, is_b in enumerate(after) if is_b)
        assert sum(not is_b for is_b in after[:last]) < 100


# Sessions -------------------------------------------------------------------------------------------------------------


def test_a_second_task_of_a_session_does_as_its_policy_says(client: SyncClient, tmp_path: Path) -> None:
    first = client.submit("hold", {"path": str(tmp_path / "go")}, session="s").id
    eventually(lambda: client.get(first).state == task_pb2.TASK_STATE_RUNNING, what="the first")
    with pytest.raises(SessionBusy, match=first):
        client.submit("square", {"number": 2}, session="s", session_policy="reject")
    beside = client.submit("square", {"number": 2}, session="s", session_policy="concurrent").id
    assert client.wait(beside, timeout_seconds=10).state == SUCCEEDED
    waiting = client.submit("square", {"number": 3}, session="s").id
    last = client.submit("square", {"number": 4}, session="s", session_policy="interrupt").id
    assert result_of(client.wait(last, timeout_seconds=20)) == 16
    assert [client.get(task_id).state for task_id in (first, waiting)] == [CANCELLED, CANCELLED]


@pytest.mark.parametrize("merge", [False, True])
def test_tasks_beside_each_other_lose_no_update(client: SyncClient, merge: bool) -> None:  # noqa: FBT001
    session = f"beside-{merge}"
    wishes = [
        Submission("note", {"text": str(number), "merge": merge}, session=session, session_policy="concurrent")
        for number in range(8)
    ]
    tasks = list(client.as_ended([task.id for task in client.submit_many(wishes)], timeout_seconds=60))
    assert {task.state for task in tasks} == {SUCCEEDED}
    outcomes = {attempt.outcome for task in tasks for attempt in task.attempts[:-1]}
    assert outcomes == (set() if merge else {attempt_pb2.ATTEMPT_OUTCOME_CONFLICT})
    last = result_of(client.wait(client.submit("remember", {"text": "last"}, session=session).id))
    assert sorted(last["before"]) == sorted(map(str, range(8)))


# The door, and the sentences ------------------------------------------------------------------------------------------


@pytest.fixture
def full(start: Start, tmp_path: Path) -> Iterator[tuple[SyncClient, list[str]]]:
    """A coordinator whose queue is full: one runs, two wait."""
    with start("--concurrency", "1", "--queue-limit", "2").client() as client:
        ids = []
        for number in range(3):
            ids.append(client.submit("hold", {"path": str(tmp_path / "go")}, request_id=str(number)).id)
            eventually(client.workers, what="the first one")
        yield client, ids
        (tmp_path / "go").touch()


def test_a_full_queue_says_which_quota_and_when(full: tuple[SyncClient, list[str]], tmp_path: Path) -> None:
    client, ids = full
    with pytest.raises(QueueFull) as refused:
        client.submit("square", {"number": 2})
    assert refused.value.figures() == {"limit": 2, "what": "tasks", "retry_seconds": 1, "setting": "queue_limit"}
    path = str(tmp_path / "go")
    assert client.submit("hold", {"path": path}, request_id="2").id == ids[2], "it is there already"


def test_who_waits_is_told_why_and_how_long(full: tuple[SyncClient, list[str]]) -> None:
    client, ids = full
    told = client.explain(ids[2])
    gate = "It waits at gate CONCURRENCY: 1 of 1 attempts are alive (`concurrency`). It is number 2 of those"
    assert told.summary.startswith(gate)
    assert (told.position, told.gate.kind) == (2, task_pb2.GATE_KIND_CONCURRENCY)
    assert not told.HasField("estimated_wait"), "nobody knows how long the first one takes"
    eventually(lambda: "Attempt 1 has run for" in client.explain(ids[0]).summary, what="the first one running")
    answer = client.fit("square")
    assert (answer.count, answer.gate.kind) == (0, task_pb2.GATE_KIND_CONCURRENCY)


def test_what_is_not_there_cannot_be_explained(client: SyncClient) -> None:
    with pytest.raises(UnknownTask):
        client.explain("nobody")
    with pytest.raises(UnknownBehaviour):
        client.fit("nobody")


def test_an_end_is_explained(client: SyncClient) -> None:
    task_id = client.submit("end", {"how": "SIGKILL"}, retry=ONCE).id
    client.wait(task_id)
    receipt_of(client, task_id)
    told = client.explain(task_id)
    assert "It is FAILED" in told.summary
    assert told.attempts[0].summary.startswith("Attempt 1 was ended by a signal: the agent was ended by SIGKILL")
    assert "MiB set aside for it." in told.attempts[0].summary


def test_workers_show_what_was_set_aside_beside_what_they_use(client: SyncClient) -> None:
    task_id = client.submit("nap", {"seconds": 1.0}, tenant="t").id
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        found = [worker for worker in client.workers() if worker.task_id == task_id]
        if found and found[0].pss_bytes:
            break
        time.sleep(0.02)
    assert found[0].reservation_bytes > 0
    assert (found[0].tenant, found[0].threads) == ("t", 1)
    assert found[0].descriptors >= 3
