"""The model that the real API is compared with: what clients asked for, and what that allows to be seen."""

import itertools
import os
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hundredfold import Retry, Submission, SyncClient
from hundredfold.client import result_of
from hundredfold.errors import HundredfoldError
from hundredfold.testing.coordinator import CoordinatorProcess
from hundredfold.v1 import attempt_pb2, task_pb2
from hundredfold_coordinator.core import lifecycle
from world import AGENTS

State = task_pb2.TaskState.ValueType
LIVE = frozenset({lifecycle.QUEUED, lifecycle.LAUNCHING, lifecycle.RUNNING})
CONCURRENCY = 4
DEATHS = 3
"""How many of its processes a task may lose before it has failed."""
SETTINGS = ("--concurrency", str(CONCURRENCY), "--memory-reserve-bytes", "0", "--orphan-seconds", "20")
KINDS = ("hold", "count", "delayed", "hold")


@dataclass
class Expected:
    """A task as it should be.

    Attributes:
        task_id: under which its submission was acknowledged; empty while it was not.
        gate: file without which it goes on; None if it ends by itself.
        delayed: whether it may not begin for as long as this test runs.
        cancelled: whether somebody wanted its end since it was last queued by a client.
        deaths: numbers of the attempts that were killed since then.
        over: the end it was seen at; None while it was at none.

    """

    wish: Submission
    task_id: str = ""
    gate: Path | None = None
    delayed: bool = False
    cancelled: bool = False
    deaths: set[int] = field(default_factory=set)
    most_attempts: int = 1
    sequence: int = 0
    over: State | None = None

    @property
    def stays(self) -> bool:
        """Whether nothing lets it end."""
        held = self.delayed or (self.gate is not None and not self.gate.exists())
        return held and not self.due

    @property
    def due(self) -> bool:
        """Whether its end is here, or needs nobody and no room to come."""
        return self.over is not None or self.cancelled or len(self.deaths) >= DEATHS

    def ends(self) -> set[State]:
        """Return where it may end."""
        ends: set[State] = {lifecycle.CANCELLED} if self.cancelled else set()
        if len(self.deaths) >= DEATHS:
            return ends | {lifecycle.FAILED}
        if not self.delayed and (self.gate is None or self.gate.exists()):
            ends.add(lifecycle.SUCCEEDED)
        return ends

    def see(self, task: task_pb2.Task) -> None:
        """Compare it with what the API shows of it.

        Raises:
            AssertionError: it may not look like that.

        """
        live = {lifecycle.QUEUED} if self.delayed else LIVE
        allowed = {self.over} if self.over is not None else live | self.ends()
        assert task.state in allowed, f"{task.state} is none of {allowed}: {self}\n{task}"
        assert task.last_sequence >= self.sequence, f"its history has become shorter: {self}\n{task}"
        assert len(task.attempts) <= self.most_attempts, f"it was tried once too often: {self}\n{task}"
        self.sequence = task.last_sequence
        if task.state in lifecycle.ENDED:
            self.over = task.state

    def killed(self, number: int) -> None:
        """Note that an attempt was killed."""
        self.deaths.add(number)
        self.most_attempts += len(self.deaths) < DEATHS

    def restarted(self) -> None:
        """Note that a coordinator died: its host may never have heard of the newest attempt, which is made again."""
        self.most_attempts += not (self.delayed or self.due)

    def revived(self) -> None:
        """Note that a client has queued it again."""
        self.cancelled, self.over = False, None
        self.deaths.clear()
        self.most_attempts += not self.delayed

    def check_end(self, task: task_pb2.Task, events: Sequence[task_pb2.Event]) -> None:
        """Compare its end and its whole history with what they should be.

        Raises:
            AssertionError: they are not.

        """
        self.see(task)
        assert task.state in lifecycle.ENDED
        succeeded = task.state == lifecycle.SUCCEEDED
        completed = [one for one in task.attempts if one.outcome == attempt_pb2.ATTEMPT_OUTCOME_COMPLETED]
        assert len(completed) == succeeded, task
        if succeeded:
            wanted = task.attempts[-1].pid if self.gate else self.wish.input["name"]
            assert result_of(task) == wanted, f"{self}\n{task}"
        check_history(events)
        assert len(events) == task.last_sequence


def check_history(events: Sequence[task_pb2.Event]) -> None:
    """Check that a history has no gap, no state that may not follow, and no attempt that delivers twice.

    Raises:
        AssertionError: it has.

    """
    assert [event.sequence for event in events] == list(range(1, len(events) + 1)), events
    states = [event.state_change.state for event in events if event.HasField("state_change")]
    assert states[0] == lifecycle.QUEUED
    for before, after in itertools.pairwise(states):
        assert after in lifecycle.TRANSITIONS[before], states
    assert states.count(lifecycle.SUCCEEDED) == (states[-1] == lifecycle.SUCCEEDED), states


class Wishes:
    """Makes wishes, each with a request id of its own that no other run has used."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = itertools.count()

    def make(self, kind: str) -> Expected:
        """Return what is to be expected of a new wish."""
        name = f"{kind}-{next(self._numbers)}"
        how = {"retry": Retry(max_attempts=DEATHS, initial_seconds=0.05, max_seconds=0.1), "request_id": name}
        if kind == "hold":
            gate = self._directory / name
            return Expected(Submission("hold", {"path": str(gate)}, **how), gate=gate)  # type: ignore[arg-type]
        given = {"ledger": str(self._directory / "ledger"), "name": name}
        if kind == "count":
            return Expected(Submission("count", given, **how))  # type: ignore[arg-type]
        later = datetime.now(UTC) + timedelta(days=1)
        wish = Submission("count", given, not_before=later, **how)  # type: ignore[arg-type]
        return Expected(wish, delayed=True, most_attempts=0)


class Place:
    """Where coordinators run, one after the other: a directory, until something went wrong there."""

    def __init__(self, directory: Path, program: Sequence[str]) -> None:
        self._directory = directory
        self._program = program
        self._number = 0
        self._process: CoordinatorProcess | None = None
        self._client: SyncClient | None = None
        self.wishes = Wishes(directory)

    def client(self) -> SyncClient:
        """Return a client of the coordinator, which is started if none runs."""
        if self._process is None:
            self._close_client()
            data_dir = self._directory / f"data-{self._number}"
            self._process = CoordinatorProcess(data_dir, ["--plugin", str(AGENTS), *SETTINGS], program=self._program)
        if self._client is None:
            self._client = self._process.client()
        return self._client

    def crash(self) -> None:
        """Kill the coordinator; hosts and agents go on, and calls that wait for it fail."""
        assert self._process
        self._process.signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def give_up(self) -> None:
        """End everything; the next coordinator begins with nothing."""
        self.client()  # after a crash there are hosts that only the next coordinator can end
        self._close_client()
        assert self._process
        self._process.stop()
        self._process = None
        self._number += 1

    def _close_client(self) -> None:
        if self._client:
            self._client.close()
        self._client = None


def submit(client: SyncClient, wish: Submission) -> task_pb2.Task:
    """Submit a wish; raise what it is refused with."""
    (answer,) = client.submit_many([wish])
    if isinstance(answer, HundredfoldError):
        raise answer
    return answer


def kill_agent(expected: Expected, attempt: attempt_pb2.Attempt) -> None:
    """Kill the process of an attempt."""
    os.kill(attempt.pid, signal.SIGKILL)
    expected.killed(attempt.number)


def chosen(found: Iterable[Expected], which: int) -> Expected | None:
    """Return one of several, if there is one."""
    listed = list(found)
    return listed[which % len(listed)] if listed else None
