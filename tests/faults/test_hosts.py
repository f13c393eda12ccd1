"""Takes hosts, zygotes and the coordinator's time away, and looks who pays for it.

H1, W5, C10 and C13 of the fault list, with two hosts where a machine could have them. What is slow by nature has its
times cut short in the test build, never its protections.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest
from hundredfold import Limits, Retry, Submission, SyncClient
from hundredfold.client import result_of
from hundredfold.identity import stat_fields
from hundredfold.internal.v1 import records_pb2
from hundredfold.stores.contract import Batch, Write
from hundredfold.stores.sqlite import SqliteStore
from hundredfold.testing.coordinator import CoordinatorProcess, eventually
from hundredfold.v1 import attempt_pb2, coordinator_service_pb2, task_pb2
from hundredfold_coordinator import keys
from world import build

Start = Callable[..., CoordinatorProcess]
SUCCEEDED = task_pb2.TASK_STATE_SUCCEEDED


def two_hosts(client: SyncClient) -> Sequence[coordinator_service_pb2.Host]:
    """Wait until two hosts can be given work, and return them."""
    ready = coordinator_service_pb2.HOST_STATE_READY
    eventually(lambda: [host.state for host in client.hosts() if host.environments] == [ready] * 2, what="two hosts")
    return client.hosts()


def running(client: SyncClient, ids: Sequence[str]) -> list[attempt_pb2.Attempt]:
    """Wait until all of these run, and return their attempts."""
    state = task_pb2.TASK_STATE_RUNNING
    eventually(lambda: all(client.get(task_id).state == state for task_id in ids), seconds=30, what="all running")
    eventually(lambda: all(client.get(task_id).attempts[-1].pid for task_id in ids), what="their pids")
    return [client.get(task_id).attempts[-1] for task_id in ids]


def is_gone(pid: int) -> bool:
    """Whether a process has ended, although perhaps nobody has reaped it."""
    fields = stat_fields(pid)
    return fields is None or fields[0] == b"Z"


def test_one_of_two_hosts_is_killed_under_a_hundred_agents(start: Start, tmp_path: Path) -> None:
    """Seen red without `conclude` in `hosting.lose`: its tasks never end."""
    path = str(tmp_path / "go")
    with start("--hosts", "2", "--concurrency", "150").client() as client:
        hosts = two_hosts(client)
        ids = [task.id for task in client.submit_many([Submission("hold", {"path": path})] * 100)]
        attempts = running(client, ids)
        spread = [sum(attempt.host == host.id for attempt in attempts) for host in hosts]
        assert min(spread) >= 40, spread
        os.kill(hosts[0].pid, signal.SIGKILL)
        orphans = [attempt.pid for attempt in attempts if attempt.host == hosts[0].id]
        eventually(lambda: all(map(is_gone, orphans)), what="the end of the orphans")
        again = running(client, ids)
        (tmp_path / "go").touch()
        ended = {task.id: task for task in client.as_ended(ids, timeout_seconds=30)}
        assert [ended[task_id].state for task_id in ids] == [SUCCEEDED] * 100
        for before, after, task_id in zip(attempts, again, ids, strict=True):
            kept = before.host != hosts[0].id
            assert (after.number, after.pid == before.pid) == ((1, True) if kept else (2, False))
            assert result_of(ended[task_id]) == after.pid
        lost = [client.get(task_id).attempts[0] for task_id in ids if len(ended[task_id].attempts) == 2]
        assert {one.outcome for one in lost} == {attempt_pb2.ATTEMPT_OUTCOME_HOST_LOST}
        assert {(one.HasField("receipt"), one.receipt.survivors) for one in lost} == {(True, 0)}


FAST_FENCE = ("--patch", "core.timing:CONFIRM_SECONDS=0.5", "--patch", "host_watch:SILENT_SECONDS=1")


def stop_and_give_away(start: Start, tmp_path: Path, *options: str) -> tuple[SyncClient, str, int, int]:
    """Stop an agent and its host past its limit; return client, task, agent and host when another attempt runs."""
    client = start("--hosts", "2", "--grace-seconds", "0.2", program=build(*FAST_FENCE, *options)).client()
    two_hosts(client)
    limits, retry = Limits(wall_seconds=1), Retry(max_attempts=2, initial_seconds=0)
    task_id = client.submit("hold_attempt", {"path": str(tmp_path / "go")}, limits=limits, retry=retry).id
    (attempt,) = running(client, [task_id])
    host = next(host.pid for host in client.hosts() if host.id == attempt.host)
    os.kill(attempt.pid, signal.SIGSTOP)
    os.kill(host, signal.SIGSTOP)
    eventually(lambda: len(client.get(task_id).attempts) == 2, what="another attempt")
    (second,) = running(client, [task_id])
    assert second.host != attempt.host, "nothing is given to a host that says nothing"
    return client, task_id, attempt.pid, host


def test_what_was_given_away_is_not_taken_back(start: Start, tmp_path: Path) -> None:
    """W5: the agent wakes up and delivers, and is refused and ended."""
    client, task_id, agent, host = stop_and_give_away(start, tmp_path)
    with client:
        try:
            (tmp_path / "go-1").touch()
            os.kill(agent, signal.SIGCONT)
            eventually(lambda: is_gone(agent), what="the end of the late one")
            assert client.get(task_id).state == task_pb2.TASK_STATE_RUNNING
        finally:
            os.kill(host, signal.SIGCONT)
        (tmp_path / "go-2").touch()
        assert result_of(client.wait(task_id, timeout_seconds=20)) == 2
        eventually(lambda: client.get(task_id).attempts[0].HasField("receipt"), what="the receipt of the late one")
        first = client.get(task_id).attempts[0]
        assert first.outcome == attempt_pb2.ATTEMPT_OUTCOME_FENCED
        assert first.receipt.exit_code == 3, "it was refused"


def test_a_host_that_dies_before_it_tells_of_an_agent_leaves_no_ghost(start: Start, tmp_path: Path) -> None:
    """Seen red without `note_process` in `running.take`: the first agent goes on, and nobody knows of it."""
    with start(program=build("--off", "launches")).client() as client:
        task_id = client.submit("hold_attempt", {"path": str(tmp_path / "go")}).id
        (first,) = running(client, [task_id])
        os.kill(client.hosts()[0].pid, signal.SIGKILL)
        eventually(lambda: is_gone(first.pid), what="the end of the first agent")
        (tmp_path / "go-2").touch()
        assert result_of(client.wait(task_id, timeout_seconds=20)) == 2


def test_without_a_fence_the_late_one_would_win(start: Start, tmp_path: Path) -> None:
    """The test above can fail."""
    client, task_id, agent, host = stop_and_give_away(start, tmp_path, "--off", "fence")
    with client:
        (tmp_path / "go-1").touch()
        os.kill(agent, signal.SIGCONT)
        eventually(lambda: client.get(task_id).state == SUCCEEDED, what="what must not be")
        os.kill(host, signal.SIGCONT)
        assert result_of(client.get(task_id)) == 1


def test_a_coordinator_that_slept_takes_nobody_for_late(start: Start, tmp_path: Path) -> None:
    """C10: while it is stopped, deadlines and silences pass that everybody else has kept.

    Seen red without `HostWatch` excusing silences that nobody listened to: the host is killed with all it runs.
    """
    process = start("--grace-seconds", "0.2", program=build("--patch", "host_watch:KILL_SECONDS=2"))
    with process.client() as client:
        ledger = str(tmp_path / "ledger")
        wish = {"ledger": ledger, "name": "n", "seconds": 1.0}
        ids = [client.submit("count", wish, schedule_to_close_seconds=4).id for _ in range(10)]
        running(client, ids)
        hosts = [host.id for host in client.hosts()]
        process.signal(signal.SIGSTOP)
        time.sleep(6)
        process.signal(signal.SIGCONT)
        ended = list(client.as_ended(ids, timeout_seconds=20))
        assert {(task.state, len(task.attempts)) for task in ended} == {(SUCCEEDED, 1)}
        assert [host.id for host in client.hosts()] == hosts


@pytest.mark.parametrize(("levels", "cause"), [(1, "SIGNALLED"), (2, "HOST_LOST")], ids=["zygote", "host"])
def test_a_task_that_kills_its_elders_is_quarantined(start: Start, tmp_path: Path, levels: int, cause: str) -> None:
    """C13: others are there all the time, and come to their end.

    With so few at once the others are alone after three losses, so five put only the guilty one into quarantine.
    """
    program = build("--patch", "core.retry:QUARANTINE_DEATHS=5", "--patch", "host_processes:_RESTARTS=20")
    with start("--concurrency", "8", program=program).client() as client:
        ledger = str(tmp_path / "ledger")
        rule = Retry(causes={"crashed": 100, "host_lost": 100}, initial_seconds=0)
        poison = client.submit("kill_parent", {"levels": levels}, retry=rule).id
        others = [client.submit("count", {"ledger": ledger, "name": "n", "seconds": 0.2}).id for _ in range(20)]
        task = client.wait(poison, timeout_seconds=60)
        assert task.dead_letter_cause == task_pb2.DEAD_LETTER_CAUSE_QUARANTINED
        assert {attempt.outcome for attempt in task.attempts} == {
            attempt_pb2.AttemptOutcome.Value(f"ATTEMPT_OUTCOME_{cause}")
        }
        assert {one.state for one in client.as_ended(others, timeout_seconds=60)} == {SUCCEEDED}


def test_a_host_of_another_version_runs_out_beside_a_new_one(start: Start, tmp_path: Path) -> None:
    first = start()
    with first.client() as client:
        task_id = client.submit("hold", {"path": str(tmp_path / "go")}).id
        (attempt,) = running(client, [task_id])
        client.drain(keep_agents=True)
    first.wait()
    _rename_version(tmp_path / "data", "0.0.1")
    with start().client() as client:
        retiring = coordinator_service_pb2.HOST_STATE_RETIRING
        eventually(lambda: {host.state for host in client.hosts()} >= {retiring}, what="the old host")
        other = client.submit("hold", {"path": str(tmp_path / "go")}).id
        (new,) = running(client, [other])
        assert new.host != attempt.host
        (tmp_path / "go").touch()
        assert result_of(client.wait(task_id)) == attempt.pid
        old = psutil.Process(next(host.pid for host in client.hosts() if host.id == attempt.host))
        eventually(lambda: len(client.hosts()) == 1 and not old.is_running(), what="the end of the old host")
        assert client.wait(other).state == SUCCEEDED


def _rename_version(data_dir: Path, version: str) -> None:
    """Have the store say that the host is of another version."""
    store = SqliteStore(data_dir / "hundredfold.db")
    for entry in store.scan(keys.HOST):
        record = records_pb2.HostRecord.FromString(entry.record.value)
        record.version = version
        store.commit([Batch([Write(entry.key, record.SerializeToString())])])
    store.close()
