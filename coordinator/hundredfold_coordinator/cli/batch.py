"""A run: many lines in, as many tasks, results out.

Request ids derive from the run's name, the line's place and its content, so the same run again finds what is done.
"""

import asyncio
import json
import secrets
import signal
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from hundredfold import Client, Injection, Submission
from hundredfold.errors import (
    BrokenEnvironment,
    HundredfoldError,
    InvalidArgument,
    QueueFull,
    RequestIdReused,
    UnknownBehaviour,
    UnknownEnvironment,
)
from hundredfold.v1 import task_pb2

from hundredfold_coordinator.cli import EXIT_FAILED, EXIT_INTERRUPTED
from hundredfold_coordinator.cli.lines import OrderedWriter, refused_row, result_row

_FAILURES_SHOWN: Final = 5
_CANCEL_AT_ONCE: Final = 50
_QUEUE_FULL_SECONDS: Final = 0.5
_FAILED: Final = (task_pb2.TASK_STATE_FAILED, task_pb2.TASK_STATE_EXPIRED)
_UNSUCCESSFUL: Final = (*_FAILED, task_pb2.TASK_STATE_CANCELLED)


@dataclass(slots=True)
class Summary:
    """What has become of a run so far.

    Attributes:
        abandoned: whether nobody waits for what was cancelled.
        reused: of those that succeeded, how many an earlier run had done.
        pids: processes that did the others.
        spans: when each of them began and ended, in nanoseconds.
        first_failures: a few of the failures, one line each.

    """

    total: int
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    refused: int = 0
    reused: int = 0
    seconds: float = 0
    interrupted: bool = False
    abandoned: bool = False
    pids: set[tuple[str, int]] = field(default_factory=set)
    spans: list[tuple[int, int]] = field(default_factory=list)
    first_failures: list[str] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Lines that have come to an end."""
        return self.succeeded + self.failed + self.cancelled + self.refused

    @property
    def most_at_once(self) -> int:
        """How many processes ran at the same time."""
        changes = sorted(change for start, end in self.spans for change in ((start, 1), (end, -1)))
        return max(accumulate(step for _, step in changes), default=0)

    @property
    def exit_code(self) -> int:
        """What the command ends with."""
        if self.interrupted:
            return EXIT_INTERRUPTED
        return EXIT_FAILED if self.succeeded < self.total else 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is to do.

    Attributes:
        behaviour: name of the behaviour.
        environment: where it is.
        name: of the run.
        session: of each task; `{field}` stands for a field of its input.
        labels: for every task.
        lanes: most tasks of this run at once; 0 means as many as the coordinator takes.
        policy: further fields of every `Submission`.
        injections: what is done on purpose to the tasks of lines, by their number.

    """

    behaviour: str
    environment: str
    name: str
    session: str
    labels: dict[str, str]
    lanes: int = 0
    policy: Mapping[str, Any] = field(default_factory=dict)
    injections: Mapping[int, Injection] = field(default_factory=dict)

    def submission(self, index: int, value: Any) -> Submission:
        """Return the wish for one line."""
        digest = sha256(json.dumps([value, self.session], sort_keys=True).encode()).hexdigest()[:16]
        return Submission(
            self.behaviour,
            value,
            session=fill(self.session, value, index),
            environment=self.environment,
            labels={"run": self.name[:100], **self.labels},
            request_id=f"{self.name[:100]}/{index}/{digest}",
            injection=self.injections.get(index),
            **self.policy,
        )


def run_name(name: str, plan: Sequence[str], path: object, *, fresh: bool) -> str:
    """Return the name under which lines are remembered: the given one, else one that the same command gets again."""
    if fresh or (not name and (not isinstance(path, str) or path in ("-", "<stdin>"))):
        return f"{name or plan[0]}-{secrets.token_hex(4)}"
    if name:
        return name
    return f"{plan[0]}-{sha256(json.dumps([*plan, str(Path(str(path)).resolve())]).encode()).hexdigest()[:8]}"


def fill(template: str, value: Any, index: int) -> str:
    """Return a session's name for one line.

    Raises:
        InvalidArgument: the input has no field that the template names.

    """
    try:
        return template.format_map(value) if isinstance(value, dict) else template.format()
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        problem = f"is {template!r}, but line {index + 1} has no field {error}"
        raise InvalidArgument("session", problem) from error


class Batch:
    """One run; `summary` is up to date at any moment."""

    def __init__(self, client: Client, plan: Plan, values: Iterable[Any], writer: OrderedWriter) -> None:
        self._client = client
        self._lanes = plan.lanes
        self._submissions = [plan.submission(index, value) for index, value in enumerate(values)]
        self._writer = writer
        self._pending: dict[str, int] = {}
        self._reused: set[str] = set()
        self.summary = Summary(len(self._submissions))

    async def run(self) -> Summary:
        """Run every line. Ctrl-C cancels what is not done; a second one gives up waiting for that."""
        began = time.monotonic()
        work = asyncio.ensure_future(self._work())
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt, work)
        try:
            await work
        except asyncio.CancelledError:
            if not self.summary.interrupted:
                raise
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            self.summary.seconds = time.monotonic() - began
        return self.summary

    async def _work(self) -> None:
        indices = range(len(self._submissions))
        if self._lanes:
            waiting = iter(indices)
            await asyncio.gather(*(self._lane(waiting) for _ in range(self._lanes)))
        else:
            async for task in self._outcomes(indices):
                self._finish(task)

    async def _lane(self, waiting: Iterable[int]) -> None:
        for index in waiting:
            if self.summary.interrupted:
                return
            async for task in self._outcomes([index]):
                self._finish(task)

    async def _outcomes(self, indices: Sequence[int]) -> AsyncIterator[task_pb2.Task]:
        """Submit lines, and yield their tasks as they end."""
        accepted = await self._submit(indices)
        if self.summary.interrupted:
            await self._cancel_pending()
        async for task in self._client.as_ended(accepted):
            yield task

    async def _submit(self, indices: Sequence[int], again: int = 0) -> list[str]:
        """Submit lines, those for which the queue has no room again and again. Returns the ids."""
        accepted, full = await self._submit_once(indices, again)
        while full:
            await asyncio.sleep(_QUEUE_FULL_SECONDS)
            more, full = await self._submit_once(full, again)
            accepted += more
        return accepted

    async def _submit_once(self, indices: Sequence[int], again: int) -> tuple[list[str], list[int]]:
        """Submit lines; those that an earlier run has tried in vain get a new task. Returns ids, and lines left out."""
        suffix = f"/again-{again}" if again else ""
        wishes = [self._submissions[index] for index in indices]
        outcomes = await self._client.submit_many(replace(wish, request_id=wish.request_id + suffix) for wish in wishes)
        accepted, failed_before, full = [], [], []
        for index, outcome in zip(indices, outcomes, strict=True):
            if isinstance(outcome, RequestIdReused):
                # The same line of an earlier run, but with another version of its plugin, other labels or limits.
                outcome = await self._client.get(outcome.task_id)  # noqa: PLW2901
            if isinstance(outcome, QueueFull) and not self.summary.interrupted:
                full.append(index)
                continue
            if isinstance(outcome, UnknownBehaviour | UnknownEnvironment | BrokenEnvironment):
                raise outcome  # no line will fare better
            if isinstance(outcome, HundredfoldError):
                self._refuse(index, outcome)
            elif outcome.state in _UNSUCCESSFUL:
                failed_before.append(index)
            else:
                if outcome.state == task_pb2.TASK_STATE_SUCCEEDED:
                    self._reused.add(outcome.id)
                    self.summary.reused += 1
                self._pending[outcome.id] = index
                accepted.append(outcome.id)
        if failed_before:
            accepted += await self._submit(failed_before, again + 1)
        return accepted, full

    def _finish(self, task: task_pb2.Task) -> None:
        index = self._pending.pop(task.id)
        self.summary.succeeded += task.state == task_pb2.TASK_STATE_SUCCEEDED
        self.summary.failed += task.state in _FAILED
        self.summary.cancelled += task.state == task_pb2.TASK_STATE_CANCELLED
        if task.id not in self._reused:
            started = [attempt for attempt in task.attempts if attempt.pid]
            self.summary.pids |= {(attempt.host, attempt.pid) for attempt in started}
            self.summary.spans += [(one.start_time.ToNanoseconds(), one.end_time.ToNanoseconds()) for one in started]
        if task.state in _FAILED:
            self._remember(f"line {index + 1}: task {task.id}: {task.failure.type}: {task.failure.message}")
        self._writer.put(index, result_row(task))

    def _refuse(self, index: int, error: HundredfoldError) -> None:
        self.summary.refused += 1
        self._remember(f"line {index + 1}: {error}")
        self._writer.put(index, refused_row(error))

    def _remember(self, failure: str) -> None:
        if len(self.summary.first_failures) < _FAILURES_SHOWN:
            self.summary.first_failures.append(failure.splitlines()[0])

    def _interrupt(self, work: asyncio.Future[None]) -> None:
        if self.summary.interrupted:
            self.summary.abandoned = True
            work.cancel()
        else:
            self.summary.interrupted = True
            self._cancelling = asyncio.ensure_future(self._cancel_pending())

    async def _cancel_pending(self) -> None:
        ids = list(self._pending)[::-1]  # the newest first: a place that comes free is for none of these
        for start in range(0, len(ids), _CANCEL_AT_ONCE):
            piece = ids[start : start + _CANCEL_AT_ONCE]
            await asyncio.gather(*(self._client.cancel(task_id, reason="the run was interrupted") for task_id in piece))
