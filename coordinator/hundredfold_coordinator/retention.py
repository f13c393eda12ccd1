"""Retention: old tasks are deleted, by age and by number, so that the store does not grow for ever.

Dead letters are counted apart and kept longer: somebody has yet to look at them. What has not ended is never deleted.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from hundredfold.errors import StoreUnreachable, UnknownTask
from hundredfold.internal.v1 import records_pb2

from hundredfold_coordinator import keys
from hundredfold_coordinator.core import lifecycle
from hundredfold_coordinator.core.state import State
from hundredfold_coordinator.ended import EndedTasks
from hundredfold_coordinator.storage import Storage

_LOOK_SECONDS: Final = 10.0
_AGE_LOOKS: Final = 60
_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How long tasks are kept that have ended, in seconds since then, and how many of them."""

    tasks: int
    seconds: float
    dead_seconds: float


class Retention:
    """Deletes what the policy does not keep any more; `run` never returns."""

    def __init__(self, policy: RetentionPolicy, state: State, storage: Storage, ended: EndedTasks) -> None:
        self._policy = policy
        self._state = state
        self._storage = storage
        self._ended = ended

    async def run(self) -> None:
        """Count what there is, then look again and again: for too many often, for too old ones now and then."""
        counted, looks = False, 0
        while True:
            # What is away now, or was deleted by somebody else meanwhile, is looked for again.
            with suppress(StoreUnreachable, UnknownTask):
                counted = counted or await self._count_all()
                if looks % _AGE_LOOKS == 0 or self.excess > 0 or self._dead_excess > 0:
                    await self.sweep()
                looks += 1
            await asyncio.sleep(_LOOK_SECONDS)

    @property
    def excess(self) -> int:
        """How many tasks there are too many, without dead letters; below zero if there is room."""
        return self._state.kept - self._state.dead - len(self._state.tasks) - self._policy.tasks

    async def sweep(self) -> None:
        """Delete what is too much or too old, the oldest first."""
        after = b""
        while entries := await self._storage.scan(keys.TASK, after=after, limit=_PAGE):
            after = entries[-1].key
            records = [records_pb2.TaskRecord.FromString(entry.record.value) for entry in entries]
            unwanted = self._choose(records)
            if unwanted:
                await self._ended.delete_all(unwanted)
            if self._is_young(records[-1]) and self.excess <= 0 and self._dead_excess <= 0:
                return

    @property
    def _dead_excess(self) -> int:
        return self._state.dead - self._policy.tasks

    def _choose(self, records: list[records_pb2.TaskRecord]) -> list[str]:
        excess, dead_excess = self.excess, self._dead_excess
        chosen = []
        for record in records:
            task = record.task
            if task.state not in lifecycle.ENDED or task.id in self._state.tasks:
                continue
            age = time.time() - task.end_time.ToNanoseconds() / 1e9
            if task.dead_letter_cause and (dead_excess > 0 or age > self._policy.dead_seconds):
                dead_excess -= 1
                chosen.append(task.id)
            elif not task.dead_letter_cause and (excess > 0 or age > self._policy.seconds):
                excess -= 1
                chosen.append(task.id)
        return chosen

    def _is_young(self, record: records_pb2.TaskRecord) -> bool:
        """Whether this task, and so every later one, was submitted so late that it cannot be too old yet."""
        age = time.time() - record.task.create_time.ToNanoseconds() / 1e9
        return age < min(self._policy.seconds, self._policy.dead_seconds)

    async def _count_all(self) -> bool:
        # What is submitted meanwhile comes after what has been counted, and so is counted, too.
        kept, dead = await self._count(keys.TASK), await self._count(keys.DEAD)
        self._state.kept, self._state.dead = kept, dead
        return True

    async def _count(self, prefix: bytes) -> int:
        count, after = 0, b""
        while entries := await self._storage.scan(prefix, after=after, limit=_PAGE):
            count, after = count + len(entries), entries[-1].key
        return count
