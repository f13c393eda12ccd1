"""Sets the wall clock a day forward and back under a coordinator: nobody is late, and nobody overtakes.

S5 of the fault list. Only the coordinator's clock of the wall is set; what it measures time with goes on.
"""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hundredfold import SyncClient
from hundredfold.testing.coordinator import CoordinatorProcess
from hundredfold.v1 import task_pb2
from test_hosts import running
from world import build

Start = Callable[..., CoordinatorProcess]
DAY = 86_400
SUCCEEDED = task_pb2.TASK_STATE_SUCCEEDED


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    path = tmp_path / "clock"
    path.write_text("0")
    return path


def submit(client: SyncClient, path: Path) -> str:
    """Submit a task that has ten minutes to start and to end, which no clock may take away."""
    deadlines = {"schedule_to_start_seconds": 600, "schedule_to_close_seconds": 600}
    return client.submit("hold", {"path": str(path)}, **deadlines).id


@pytest.mark.parametrize("shift", [DAY, -DAY], ids=["forward", "back"])
def test_a_clock_that_is_set_makes_nobody_late(start: Start, tmp_path: Path, clock: Path, shift: int) -> None:
    check_nobody_is_late(start, tmp_path, clock, shift)


def test_alarms_by_the_wall_would_make_everybody_late(start: Start, tmp_path: Path, clock: Path) -> None:
    """The test above can fail."""
    with pytest.raises(AssertionError):
        check_nobody_is_late(start, tmp_path, clock, DAY, "--off", "monotonic")


def check_nobody_is_late(start: Start, tmp_path: Path, clock: Path, shift: int, *options: str) -> None:
    """Set the clock while tasks run and wait: all of them come to their end in their first attempt."""
    process = start("--concurrency", "2", program=build("--clock", str(clock), *options))
    with process.client() as client:
        ids = [submit(client, tmp_path / "go") for _ in range(4)]
        running(client, ids[:2])
        hosts, epoch = [host.id for host in client.hosts()], client.status().epoch
        clock.write_text(str(shift))
        ids += [submit(client, tmp_path / "go") for _ in range(4)]
        assert client.get(ids[2]).state == task_pb2.TASK_STATE_QUEUED
        time.sleep(0.2)  # time to be late in
        (tmp_path / "go").touch()
        ended = list(client.as_ended(ids, timeout_seconds=20))
        assert {(task.state, len(task.attempts)) for task in ended} == {(SUCCEEDED, 1)}
        assert ([host.id for host in client.hosts()], client.status().epoch) == (hosts, epoch)


def test_ids_stay_in_order_when_the_clock_goes_back(start: Start, tmp_path: Path, clock: Path) -> None:
    """Seen red with ids of `ULID()` alone: what is submitted after the clock was set back overtakes the queue."""
    program = build("--clock", str(clock))
    process = start("--concurrency", "1", program=program)
    with process.client() as client:
        first = [submit(client, tmp_path / "go") for _ in range(3)]
        clock.write_text(str(-DAY))
        first += [submit(client, tmp_path / "go") for _ in range(3)]
        client.drain(keep_agents=True)
    process.wait()
    with start("--concurrency", "1", program=program).client() as client:
        ids = [*first, *(submit(client, tmp_path / "go") for _ in range(3))]
        assert ids == sorted(set(ids))
        (tmp_path / "go").touch()
        ended = [task.id for task in client.as_ended(ids, timeout_seconds=20)]
        assert ended == ids
