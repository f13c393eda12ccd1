"""A contest: the same tasks, run under one strategy after the other, as often as is wanted."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Container, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from hundredfold import Client, Injection, Submission
from hundredfold.errors import HundredfoldError, InvalidArgument, InvalidInput
from hundredfold.v1 import task_pb2

from hundredfold_coordinator.trial.outcome import Run, outcomes_of
from hundredfold_coordinator.trial.sampler import Sampler

_AT_ONCE: Final = 20

Start = Callable[[], AbstractAsyncContextManager[Client]]
"""Starts a coordinator with nothing in it, which ends with the block."""


class Progress(Protocol):
    """Told how far a contest is."""

    def begin(self, strategy: str, repeat: int) -> None:
        """A run begins."""

    def done(self, tasks: int) -> None:
        """So many of its tasks have ended."""


@dataclass(frozen=True, slots=True)
class Contest:
    """What is compared.

    Attributes:
        submissions: the tasks, in their order.
        strategies: what they are run under.
        repeat: how often.
        injections: what is done on purpose to which of them.

    """

    submissions: Sequence[Submission]
    strategies: Sequence[str]
    repeat: int = 1
    injections: Mapping[int, Injection] = field(default_factory=dict)

    def order(self) -> Iterator[tuple[str, int]]:
        """Yield strategies with the number of the repetition: interleaved, and each time another one is first."""
        for number in range(self.repeat):
            shift = number % len(self.strategies)
            for strategy in (*self.strategies[shift:], *self.strategies[:shift]):
                yield strategy, number + 1

    def wishes(self, strategy: str) -> Iterator[Submission]:
        """Yield what is submitted: every task looks for the traces of others."""
        for index, submission in enumerate(self.submissions):
            injection = replace(self.injections.get(index, Injection()), canary=True)
            yield replace(submission, strategy=strategy, injection=injection)


async def hold(contest: Contest, start: Start, progress: Progress) -> AsyncIterator[Run]:
    """Hold a contest: each run has a coordinator of its own, so that none inherits anything of another.

    Raises:
        HundredfoldError: a coordinator does not start, or refuses a task.

    """
    for strategy, repeat in contest.order():
        progress.begin(strategy, repeat)
        async with start() as client:
            yield await _run(contest, client, strategy, repeat, progress)


async def _run(contest: Contest, client: Client, strategy: str, repeat: int, progress: Progress) -> Run:
    await client.behaviours()  # not before its environment is ready
    sampler = Sampler((await client.status()).pid)
    async with sampler.sampling():
        accepted = await client.submit_many(contest.wishes(strategy))
        ids = [_accepted(number, one).id for number, one in enumerate(accepted, start=1)]
        ended = 0
        async for _ in client.as_ended(ids):
            ended += 1
            progress.done(ended)
    tasks = [await client.get(task_id) for task_id in ids]
    return Run(
        strategy=strategy,
        repeat=repeat,
        tasks=outcomes_of(tasks, contest.injections, await _canaries(client, tasks)),
        samples=sampler.samples,
        cpu_s=sampler.cpu_s,
        others_cores=sampler.others_cores,
    )


def _accepted(number: int, outcome: task_pb2.Task | HundredfoldError) -> task_pb2.Task:
    if isinstance(outcome, InvalidInput):
        raise InvalidArgument(f"line {number} of the input", f"is refused: {outcome}") from outcome
    if isinstance(outcome, HundredfoldError):
        raise outcome
    return outcome


async def _canaries(client: Client, tasks: Sequence[task_pb2.Task]) -> dict[str, str]:
    """Return what was found in processes of other tasks, by task."""
    gate, ids = asyncio.Semaphore(_AT_ONCE), {task.id for task in tasks}

    async def look(task: task_pb2.Task) -> str:
        async with gate:
            found = [canary_in(event, ids) async for event in client.watch(task.id) if event.HasField("emitted")]
            return next(filter(None, found), "")

    found = await asyncio.gather(*map(look, tasks))
    return {task.id: canary for task, canary in zip(tasks, found, strict=True) if canary}


def canary_in(event: task_pb2.Event, ids: Container[str]) -> str:
    """Return which of some tasks an event says has left a trace; empty if it says nothing of the kind."""
    try:
        value: Any = json.loads(event.emitted.payload.data)
    except ValueError:  # agents in other languages emit what they like
        return ""
    if not isinstance(value, dict) or value.keys() != {"canary"}:
        return ""
    found = str(value["canary"])
    return found if found in ids else ""  # a behaviour may have events like that of its own
