"""A backlog: what a task costs the coordinator while so many others are queued that may not be started."""

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from hundredfold import Client, Submission
from hundredfold.errors import HundredfoldError, InternalError
from hundredfold.v1 import task_pb2

from hundredfold_coordinator.trial.crowd import Start
from hundredfold_coordinator.trial.family import Family

BATCH: Final = 500
"""Tasks that are submitted at once, and waited for."""
ROUNDS: Final = 6
_WORKERS: Final = 4
_SPARE: Final = 2 * BATCH


@dataclass(slots=True)
class Backlog:
    """What was measured with so many queued.

    Attributes:
        queued: how many.
        submit_s: from their submission until all were accepted.
        pss_bytes: proportional set size of the coordinator then.
        cpu_s: CPU time of the coordinator for each of a batch of other tasks; one batch after the other.
        batch_s: how long each batch took.

    """

    queued: int
    submit_s: float
    pss_bytes: int
    cpu_s: list[float]
    batch_s: list[float]


async def pile_up(start: Start, counts: Sequence[int], begin: Callable[[str], None]) -> list[Backlog]:
    """Measure each of several backlogs, on a coordinator of its own.

    All of them are there at once, and have their batches in turn: so what else the machine does hits all alike.

    Raises:
        HundredfoldError: a coordinator does not start, or refuses a task.

    """
    async with contextlib.AsyncExitStack() as stack:
        piles = []
        for count in counts:
            begin(f"{count} queued tasks")
            limits = ["--behaviour-limit", "queued=0", "--queue-limit", str(count + _SPARE)]
            client = await stack.enter_async_context(start(_WORKERS, "--pool-size", str(_WORKERS), *limits))
            piles.append(await _pile(client, count))
        for number in range(ROUNDS):
            begin(f"{BATCH} other tasks beside each of them, round {number + 1}")
            for pile in piles:
                await pile.run()
        return [pile.backlog for pile in piles]


@dataclass(frozen=True, slots=True)
class _Pile:
    client: Client
    family: Family
    backlog: Backlog

    async def run(self) -> None:
        """Run one batch of other tasks beside it."""
        used, began = self.family.cpu_seconds()["coordinator"], time.monotonic()
        await _run_batch(self.client)
        self.backlog.batch_s.append(time.monotonic() - began)
        self.backlog.cpu_s.append((self.family.cpu_seconds()["coordinator"] - used) / BATCH)


async def _pile(client: Client, count: int) -> _Pile:
    family = await Family.of(client)
    await _run_batch(client)  # the pool's workers are made, and the coordinator has seen everything once
    began = time.monotonic()
    await _submit(client, (Submission("queued") for _ in range(count)))
    lasted = time.monotonic() - began
    await _run_batch(client)
    return _Pile(client, family, Backlog(count, lasted, family.pss_bytes()["coordinator"], [], []))


async def _run_batch(client: Client) -> None:
    ids = await _submit(client, (Submission("noop", strategy="pool") for _ in range(BATCH)))
    async for task in client.as_ended(ids):
        if task.state != task_pb2.TASK_STATE_SUCCEEDED:
            raise _failed(task)


async def _submit(client: Client, wishes: Iterable[Submission]) -> list[str]:
    ids = []
    for answer in await client.submit_many(wishes):
        if isinstance(answer, HundredfoldError):
            raise answer
        ids.append(answer.id)
    return ids


def _failed(task: task_pb2.Task) -> InternalError:
    return InternalError(f"a task that does nothing ended with {task.failure.message!r}")
