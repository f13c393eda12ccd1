"""Stopping, being killed, and coming back: what was accepted is not lost, and what runs goes on where it may."""

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import grpc
import psutil
import pytest
from google.protobuf import duration_pb2
from hundredfold.client import result_of
from hundredfold.errors import Draining, HundredfoldError, QueueFull
from hundredfold.testing.coordinator import CoordinatorProcess, eventually
from hundredfold.v1 import attempt_pb2, coordinator_service_pb2, coordinator_service_pb2_grpc, task_pb2

Start = Callable[..., CoordinatorProcess]


def until_running(process: CoordinatorProcess, task_id: str) -> int:
    """Wait until a task runs and its process is known; return that."""
    with process.client() as client:
        eventually(lambda: client.get(task_id).state == task_pb2.TASK_STATE_RUNNING, what="running")
        eventually(lambda: client.get(task_id).attempts[0].pid, what="the pid")
        return client.get(task_id).attempts[0].pid


def family_of(process: CoordinatorProcess) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_running_tasks_may_finish(start: Start) -> None:
    first = start()
    with first.client() as client:
        task_id = client.submit("nap", {"seconds": 1}).id
    until_running(first, task_id)
    family = family_of(first)
    with first.client() as client:
        client.drain()
        with pytest.raises((Draining, HundredfoldError)):
            client.submit("square", {"number": 1})
    assert first.wait() == 0
    assert not [process for process in family if process.is_running()]
    with start().client() as client:
        assert client.get(task_id).state == task_pb2.TASK_STATE_SUCCEEDED


def test_what_does_not_finish_is_queued_again(start: Start, tmp_path: Path) -> None:
    first = start()
    with first.client() as client:
        task_id = client.submit("hold", {"path": str(tmp_path / "go")}).id
        until_running(first, task_id)
        family = family_of(first)
        client.drain(drain_seconds=0.1, grace_seconds=1)
    assert first.wait() == 0
    assert not [process for process in family if process.is_running()]
    (tmp_path / "go").touch()
    with start().client() as client:
        task = client.wait(task_id)
        assert task.state == task_pb2.TASK_STATE_SUCCEEDED
        assert [attempt.outcome for attempt in task.attempts] == [
            attempt_pb2.ATTEMPT_OUTCOME_DRAINED,
            attempt_pb2.ATTEMPT_OUTCOME_COMPLETED,
        ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_it(start: Start, number: signal.Signals) -> None:
    process = start()
    family = family_of(process)
    process.signal(number)
    assert process.wait() == 0
    assert not [child for child in family if child.is_running()]


def test_a_second_signal_does_not_wait(start: Start) -> None:
    process = start("--grace-seconds", "1")
    with process.client() as client:
        until_running(process, client.submit("stubborn").id)
    process.signal(signal.SIGTERM)
    eventually(lambda: _is_draining(process), what="draining")
    process.signal(signal.SIGTERM)
    assert process.wait(10) == 0


def _is_draining(process: CoordinatorProcess) -> bool:
    with process.client() as client:
        return client.status().draining


def test_an_upgrade_keeps_the_agents(start: Start, tmp_path: Path) -> None:
    first = start()
    with first.client() as client:
        task_id = client.submit("hold", {"path": str(tmp_path / "go")}).id
        pid = until_running(first, task_id)
        client.drain(keep_agents=True)
    assert first.wait() == 0
    assert psutil.pid_exists(pid)
    with start().client() as client:
        eventually(lambda: [worker.pid for worker in client.workers()] == [pid], what="adoption")
        (tmp_path / "go").touch()
        task = client.wait(task_id)
        assert result_of(task) == pid
        assert len(task.attempts) == 1
        eventually(lambda: client.get(task_id).attempts[0].HasField("receipt"), what="the receipt")


def test_agents_outlive_a_killed_coordinator(start: Start, tmp_path: Path) -> None:
    first = start()
    with first.client() as client:
        task_id = client.submit("hold", {"path": str(tmp_path / "go")}).id
        queued = client.submit("square", {"number": 5}, request_id="kept").id
        pid = until_running(first, task_id)
    first.signal(signal.SIGKILL)
    first.wait()
    (tmp_path / "go").touch()  # it finishes while nobody is there to be told
    with start().client() as client:
        assert result_of(client.wait(task_id)) == pid
        assert result_of(client.wait(queued)) == 25
        assert client.submit("square", {"number": 5}, request_id="kept").id == queued
        assert client.status().epoch == 2


def test_hosts_and_agents_end_when_no_coordinator_comes_back(start: Start, tmp_path: Path) -> None:
    first = start("--orphan-seconds", "1")
    with first.client() as client:
        task_id = client.submit("hold", {"path": str(tmp_path / "never")}).id
    until_running(first, task_id)
    family = family_of(first)
    first.signal(signal.SIGKILL)
    first.wait()
    eventually(lambda: not [process for process in family if process.is_running()], what="their end")


def test_a_lost_host_costs_its_attempts_only(start: Start, tmp_path: Path) -> None:
    process = start()
    with process.client() as client:
        task_id = client.submit("hold", {"path": str(tmp_path / "go")}).id
        pid = until_running(process, task_id)
        os.kill(client.status().hosts[0].pid, signal.SIGKILL)
        eventually(lambda: len(client.get(task_id).attempts) == 2, what="a second attempt")
        eventually(lambda: not psutil.pid_exists(pid), what="the end of the orphan")
        (tmp_path / "go").touch()
        task = client.wait(task_id)
        assert task.attempts[0].outcome == attempt_pb2.ATTEMPT_OUTCOME_HOST_LOST
        assert result_of(task) != pid


def test_a_dead_zygote_is_replaced_and_its_workers_go_on(start: Start, tmp_path: Path) -> None:
    process = start()
    with process.client() as client:
        task_id = client.submit("hold", {"path": str(tmp_path / "go")}).id
        pid = until_running(process, task_id)
        zygote = next(child for child in family_of(process) if "zygote" in " ".join(child.cmdline()))
        zygote.kill()
        other = client.submit("square", {"number": 6}).id
        assert result_of(client.wait(other)) == 36
        (tmp_path / "go").touch()
        assert result_of(client.wait(task_id)) == pid
        eventually(lambda: client.get(task_id).attempts[0].HasField("receipt"), what="the receipt")
        assert client.get(task_id).attempts[0].receipt.exit_code == 0


def test_a_request_is_recognised_after_a_restart_whatever_waits_for_others(start: Start, tmp_path: Path) -> None:
    """Seen red when it was not looked up because the queue of those without a tenant was full: the store refused it."""
    first = start("--concurrency", "2", "--tenant-queue-limit", "1")
    with first.client() as client:
        wish = {"path": str(tmp_path / "go")}
        done = client.wait(client.submit("square", {"number": 3}, tenant="acme", request_id="r").id)
        for _ in range(3):  # two run, one waits
            client.submit("hold", wish)
            eventually(lambda: not client.status().gate_counts or len(client.workers()) == 2, what="a start")
    first.signal(signal.SIGKILL)
    first.wait()
    with start("--concurrency", "2", "--tenant-queue-limit", "1").client() as client:
        with pytest.raises(QueueFull):
            client.submit("hold", wish)
        again = client.submit("square", {"number": 3}, tenant="acme", request_id="r")
        assert again.id == done.id
        (tmp_path / "go").touch()


def test_a_second_coordinator_names_the_first(start: Start) -> None:
    first = start()
    with pytest.raises(AssertionError, match=f"in use by the coordinator with pid {first.pid}"):
        start()
    with first.client() as client:
        assert client.status().pid == first.pid


def test_a_stale_socket_is_no_obstacle(start: Start) -> None:
    first = start()
    first.signal(signal.SIGKILL)
    first.wait()
    assert (first.data_dir / "api.sock").exists()
    with start().client() as client:
        assert client.status().epoch == 2


def test_a_host_that_hangs_does_not_hold_up_the_end(start: Start, tmp_path: Path) -> None:
    first = start()
    with first.client() as client:
        task_id = client.submit("hold", {"path": str(tmp_path / "go")}).id
        worker = psutil.Process(until_running(first, task_id))
        (host,) = client.status().hosts
        family = family_of(first)
        os.kill(host.pid, signal.SIGSTOP)
        client.drain(drain_seconds=0, grace_seconds=0)
    assert first.wait() == 0
    # Orphans of a killed host are reaped by whoever adopts them, in his own time.
    assert not [one for one in (worker, *family) if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    (tmp_path / "go").touch()
    with start().client() as client:
        task = client.wait(task_id)
        assert task.state == task_pb2.TASK_STATE_SUCCEEDED
        assert task.attempts[0].outcome == attempt_pb2.ATTEMPT_OUTCOME_DRAINED


def test_the_end_of_a_host_is_the_end_of_its_agents_trees(start: Start, tmp_path: Path) -> None:
    process = start()
    with process.client() as client:
        task_id = client.submit("family", {"path": str(tmp_path / "child")}).id
        until_running(process, task_id)
        eventually(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text(), what="the child")
        child = psutil.Process(int((tmp_path / "child").read_text()))
        (host,) = client.status().hosts
        os.kill(host.pid, signal.SIGKILL)
        eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, what="the child's end")
        client.cancel(task_id)


def test_an_upgrade_loads_plugins_anew_and_keeps_the_agents(start: Start, tmp_path: Path) -> None:
    plugin = tmp_path / "version.py"
    source = "from hundredfold import behaviour\n@behaviour\ndef version() -> int: return {number}\n"
    plugin.write_text(source.format(number=1))
    first = start("--plugin", str(plugin))
    with first.client() as client:
        assert result_of(client.wait(client.submit("version").id)) == 1
        running = client.submit("hold", {"path": str(tmp_path / "go")}).id
        pid = until_running(first, running)
        client.drain(keep_agents=True)
    assert first.wait() == 0
    plugin.write_text(source.format(number=2))
    with start("--plugin", str(plugin)).client() as client:
        eventually(lambda: client.status().hosts, what="the host")
        assert result_of(client.wait(client.submit("version").id)) == 2
        (tmp_path / "go").touch()
        task = client.wait(running)
        assert [attempt.pid for attempt in task.attempts] == [pid]
        assert task.state == task_pb2.TASK_STATE_SUCCEEDED


def test_an_order_to_stop_that_makes_no_sense_changes_nothing(start: Start) -> None:
    process = start()
    with grpc.insecure_channel(f"unix:{process.data_dir}/api.sock") as channel:
        stub = coordinator_service_pb2_grpc.CoordinatorServiceStub(channel)
        for seconds in (2**62, -1):
            request = coordinator_service_pb2.DrainRequest(drain=duration_pb2.Duration(seconds=seconds))
            with pytest.raises(grpc.RpcError) as caught:
                stub.Drain(request)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with process.client() as client:
        assert not client.status().draining


def test_agents_of_a_host_that_is_told_to_end_run_again(start: Start, tmp_path: Path) -> None:
    process = start()
    with process.client() as client:
        task_id = client.submit("hold", {"path": str(tmp_path / "go")}).id
        until_running(process, task_id)
        os.kill(client.status().hosts[0].pid, signal.SIGTERM)
        eventually(lambda: len(client.get(task_id).attempts) == 2, what="the second attempt")
        (tmp_path / "go").touch()
        assert client.wait(task_id).state == task_pb2.TASK_STATE_SUCCEEDED
        assert client.get(task_id).attempts[0].outcome == attempt_pb2.ATTEMPT_OUTCOME_HOST_LOST


def test_a_host_with_few_descriptors_runs_everything(start: Start) -> None:
    process = start("--concurrency", "60")
    with process.client() as client:
        resource.prlimit(client.status().hosts[0].pid, resource.RLIMIT_NOFILE, (100, 100))
        ids = [client.submit("nap", {"seconds": 0.1}).id for _ in range(60)]
        assert {client.wait(task_id).state for task_id in ids} == {task_pb2.TASK_STATE_SUCCEEDED}
        assert len(client.status().hosts) == 1
