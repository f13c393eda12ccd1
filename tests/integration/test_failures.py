"""How attempts end when they do not end well, and that it costs nobody else anything."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import psutil
import pytest
from hundredfold import SyncClient
from hundredfold.client import result_of
from hundredfold.errors import PayloadTooLarge
from hundredfold.testing.coordinator import CoordinatorProcess, eventually
from hundredfold.v1 import attempt_pb2, payload_pb2, task_pb2, task_service_pb2, task_service_pb2_grpc

OUTCOME = attempt_pb2.AttemptOutcome


def ended_with_receipt(client: SyncClient, task_id: str) -> task_pb2.Task:
    client.wait(task_id)
    eventually(lambda: client.get(task_id).attempts[-1].HasField("receipt"), what="the receipt")
    return client.get(task_id)


@pytest.mark.parametrize(
    ("how", "outcome", "kind"),
    [
        ("raise", "RAISED", "ZeroDivisionError"),
        ("sys.exit", "RAISED", "SystemExit"),
        ("os._exit", "EXITED", "Exited"),
        ("SIGKILL", "SIGNALLED", "SIGKILL"),
        ("SIGSEGV", "SIGNALLED", "SIGSEGV"),
        ("large", "RAISED", "PayloadTooLarge"),
        ("not-json", "RAISED", "TypeError"),
    ],
)
def test_every_end_has_its_own_outcome(client: SyncClient, how: str, outcome: str, kind: str) -> None:
    task = ended_with_receipt(client, client.submit("end", {"how": how}).id)
    assert task.state == task_pb2.TASK_STATE_FAILED
    assert task.failure.type == kind
    assert OUTCOME.Name(task.attempts[0].outcome) == f"ATTEMPT_OUTCOME_{outcome}"
    assert b"last words" in task.attempts[0].receipt.stderr_tail


def test_a_traceback_is_kept(client: SyncClient) -> None:
    task = client.wait(client.submit("end", {"how": "raise"}).id)
    assert "ZeroDivisionError" in task.failure.traceback


def test_last_words_are_quoted(client: SyncClient) -> None:
    task = client.wait(client.submit("end", {"how": "SIGKILL"}).id)
    assert "last words" in task.failure.message


def test_innocents_do_not_notice(client: SyncClient) -> None:
    innocents = [client.submit("nap", {"seconds": 1}).id for _ in range(20)]
    guilty = [client.submit("end", {"how": how}).id for how in ("SIGKILL", "SIGSEGV", "os._exit") for _ in range(5)]
    assert {task.state for task in client.as_ended(guilty)} == {task_pb2.TASK_STATE_FAILED}
    assert {task.state for task in client.as_ended(innocents)} == {task_pb2.TASK_STATE_SUCCEEDED}


@pytest.mark.parametrize("how", ["child", "session", "daemon"])
def test_nothing_of_an_attempt_survives_it(client: SyncClient, how: str) -> None:
    task_id = client.submit("leave_children", {"how": how}).id
    task = ended_with_receipt(client, task_id)
    pids = result_of(task)
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    receipt = task.attempts[0].receipt
    assert (receipt.leftovers_killed, receipt.survivors) == (1, 0)


def test_a_flood_of_output_is_kept_at_its_end(client: SyncClient) -> None:
    task = ended_with_receipt(client, client.submit("write_much", {"megabytes": 4}).id)
    receipt = task.attempts[0].receipt
    assert len(receipt.stdout_tail) == 16 * 1024
    assert receipt.dropped_bytes == (4 << 20) - 16 * 1024
    assert receipt.stderr_tail == b"the end\n"


def test_a_receipt_has_figures(client: SyncClient) -> None:
    task = ended_with_receipt(client, client.submit("nap", {"seconds": 1.2}).id)
    receipt = task.attempts[0].receipt
    assert receipt.exit_code == 0
    assert 1.2 <= receipt.wall_time.ToTimedelta().total_seconds() < 5
    assert 0 < receipt.cpu_time.ToTimedelta().total_seconds() < 1
    assert receipt.samples > 0
    assert 1 << 20 < receipt.peak_pss_bytes < 64 << 20


def test_cancelling_a_queued_task(client: SyncClient) -> None:
    holder = client.submit("remember", {"text": "a", "pause": 60}, session="line")
    queued = client.submit("remember", {"text": "b"}, session="line")
    task = client.cancel(queued.id, reason="not needed")
    assert (task.state, task.failure.message) == (task_pb2.TASK_STATE_CANCELLED, "not needed")
    client.cancel(holder.id)
    assert client.wait(holder.id).state == task_pb2.TASK_STATE_CANCELLED


@pytest.mark.parametrize("behaviour", ["tidy", "tidy_sync"])
def test_a_cancelled_agent_can_tidy_up(client: SyncClient, tmp_path: Path, behaviour: str) -> None:
    task_id = client.submit(behaviour, {"path": str(tmp_path / "done")}).id
    next(event for event in client.watch(task_id) if event.HasField("emitted"))
    client.cancel(task_id)
    task = ended_with_receipt(client, task_id)
    assert task.state == task_pb2.TASK_STATE_CANCELLED
    assert (tmp_path / "done").read_text() == "tidied"
    assert list(task.attempts[0].receipt.kill_signals) == ["TERM"]


def test_cancelling_what_has_ended_changes_nothing(client: SyncClient) -> None:
    task_id = client.submit("square", {"number": 2}).id
    client.wait(task_id)
    assert client.cancel(task_id).state == task_pb2.TASK_STATE_SUCCEEDED


def test_a_worker_sees_nothing_it_should_not(client: SyncClient) -> None:
    seen = result_of(client.wait(client.submit("look_around").id))
    assert seen["session"]
    assert seen["core"] == 0
    assert seen["oom"] == "500"
    assert seen["cpus"] == len(os.sched_getaffinity(0))
    assert "worker" in seen["argv"]
    assert not [name for name in seen["environ"] if "SECRET" in name or "TOKEN" in name or "CREDENTIAL" in name]


def test_closing_every_descriptor_costs_nothing(client: SyncClient) -> None:
    task = client.wait(client.submit("close_everything").id)
    assert result_of(task) == "done all the same"


def test_a_worker_without_streams_ends_as_a_worker(client: SyncClient) -> None:
    task_id = client.submit("take_streams_away").id
    assert result_of(client.wait(task_id)) == 1
    eventually(lambda: client.get(task_id).attempts[0].HasField("receipt"), what="the receipt")
    assert client.get(task_id).attempts[0].receipt.exit_code == 0


def test_a_result_that_json_has_no_word_for_is_a_failure(client: SyncClient) -> None:
    task = client.wait(client.submit("no_number").id)
    assert (task.state, task.failure.type) == (task_pb2.TASK_STATE_FAILED, "TypeError")
    assert "no JSON" in task.failure.message


def test_a_large_input_holds_nobody_up(client: SyncClient, coordinator: CoordinatorProcess) -> None:
    with ThreadPoolExecutor(1) as pool, coordinator.client() as other:
        large = pool.submit(client.submit, "add_up", {"numbers": [1] * 400_000})
        longest = 0.0
        while not large.done():
            began = time.monotonic()
            other.status()
            longest = max(longest, time.monotonic() - began)
        assert longest < 1, "checking it takes seconds, the others do not wait for that"
    assert result_of(client.wait(large.result().id)) == 400_000


@pytest.mark.parametrize("text", ['{"numbers": [1e999]}', '{"numbers": ' + "[" * 900 + "]" * 900 + "}"])
def test_an_input_that_is_odd_is_refused(coordinator: CoordinatorProcess, text: str) -> None:
    with grpc.insecure_channel(f"unix:{coordinator.data_dir}/api.sock") as channel:
        stub = task_service_pb2_grpc.TaskServiceStub(channel)
        spec = task_pb2.TaskSpec(behaviour="add_up", input=payload_pb2.Payload(data=text.encode()))
        with pytest.raises(grpc.RpcError) as caught:
            stub.SubmitTask(task_service_pb2.SubmitTaskRequest(spec=spec))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_more_than_a_message_holds_is_refused_with_the_limit(client: SyncClient) -> None:
    with pytest.raises(PayloadTooLarge):
        client.submit("add_up", {"numbers": ["x" * (70 << 20)]})
