"""Takes the coordinator away from agents that have done their work, for longer than they may run.

What is finished is delivered when there is a coordinator again, and not done twice; what is not finished has its limit
all the same.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hundredfold import Limits, SyncClient
from hundredfold.client import result_of
from hundredfold.testing.coordinator import CoordinatorProcess, eventually
from hundredfold.v1 import attempt_pb2
from test_hosts import is_gone, running

Start = Callable[..., CoordinatorProcess]
LIMIT_SECONDS = 1.5
QUICK = ("--grace-seconds", "0.2")


def begin(client: SyncClient, path: Path) -> tuple[str, attempt_pb2.Attempt]:
    """Submit a task that ends when there is a file, and may run for a while only; wait until it runs."""
    task = client.submit("hold", {"path": str(path)}, limits=Limits(wall_seconds=LIMIT_SECONDS))
    return task.id, running(client, [task.id])[0]


@pytest.mark.parametrize("stopped", [False, True], ids=["killed", "stopped"])
def test_what_is_finished_waits_for_the_next_coordinator(start: Start, tmp_path: Path, stopped: bool) -> None:  # noqa: FBT001
    """Seen red with `_RESPITE_SECONDS` of the host at 0: the attempt is timed out, and its work done twice."""
    process = start(*QUICK)
    with process.client() as client:
        task_id, attempt = begin(client, tmp_path / "go")
    process.signal(signal.SIGSTOP if stopped else signal.SIGKILL)
    (tmp_path / "go").touch()
    time.sleep(LIMIT_SECONDS + 1)
    assert not is_gone(attempt.pid)
    if stopped:
        process.signal(signal.SIGCONT)
    else:
        process.wait()
        process = start(*QUICK)
    with process.client() as client:
        task = client.wait(task_id, timeout_seconds=20)
    assert (result_of(task), len(task.attempts)) == (attempt.pid, 1)


def test_what_is_not_finished_has_its_limit_without_a_coordinator(start: Start, tmp_path: Path) -> None:
    process = start(*QUICK)
    with process.client() as client:
        task_id, attempt = begin(client, tmp_path / "go")
    process.signal(signal.SIGKILL)
    process.wait()
    eventually(lambda: is_gone(attempt.pid), seconds=LIMIT_SECONDS + 2, what="the end of the agent")
    with start().client() as client:
        eventually(lambda: client.get(task_id).attempts[0].outcome, what="its record")
        assert client.get(task_id).attempts[0].outcome == attempt_pb2.ATTEMPT_OUTCOME_TIMED_OUT


def test_who_is_left_behind_by_coordinator_and_host_waits_for_nobody(start: Start, tmp_path: Path) -> None:
    """Seen red without `is_orphan`: what was finished waits for ever, for nobody ends it."""
    process = start(*QUICK)
    with process.client() as client:
        task_id = client.submit("hold", {"path": str(tmp_path / "go")}).id
        pid = running(client, [task_id])[0].pid
        host = client.hosts()[0].pid
    process.signal(signal.SIGKILL)
    process.wait()
    os.kill(host, signal.SIGKILL)
    assert not is_gone(pid)  # it is at work
    (tmp_path / "go").touch()
    eventually(lambda: is_gone(pid), seconds=5, what="the end of the agent")
