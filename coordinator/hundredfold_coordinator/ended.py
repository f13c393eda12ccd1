"""Tasks that have ended, which live in the store only: taken up again, or deleted, one after the other.

A record that was read is worth something only if nothing that was decided about its task is still on its way to the
store, and if nobody else does the same meanwhile.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from hundredfold.errors import UnknownTask
from hundredfold.internal.v1 import records_pb2

from hundredfold_coordinator import keys
from hundredfold_coordinator.core import events
from hundredfold_coordinator.core.reviving import not_ended
from hundredfold_coordinator.core.state import State
from hundredfold_coordinator.journal import Journal
from hundredfold_coordinator.storage import Storage

_T = TypeVar("_T")


class EndedTasks:
    """Does to tasks that have ended what clients and the retention want."""

    def __init__(self, state: State, storage: Storage, journal: Journal) -> None:
        self._state = state
        self._storage = storage
        self._journal = journal
        self._lock = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()

    async def retry(self, task_id: str) -> None:
        """Queue a task again.

        Raises:
            UnknownTask, TaskNotEnded, TaskHasResult, QueueFull, Draining: it cannot be.

        """

        async def retry() -> None:
            (record,) = await self._load([task_id])
            await self._journal.ask(events.RetryRequested, task_id=task_id, stored=record)

        await self._alone(retry())

    async def delete(self, task_id: str) -> None:
        """Delete a task and everything that is known of it.

        Raises:
            UnknownTask, TaskNotEnded: it cannot be.

        """

        async def delete() -> None:
            (record,) = await self._load([task_id])
            if not await self._journal.ask(events.DeleteRequested, stored=[record]):
                raise not_ended(self._state.tasks.get(task_id, record))

        await self._alone(delete())

    async def delete_all(self, task_ids: Sequence[str]) -> int:
        """Delete those of some tasks that can be; return how many that were."""

        async def delete() -> int:
            return int(await self._journal.ask(events.DeleteRequested, stored=await self._load(task_ids)))

        return await self._alone(delete())

    async def _load(self, task_ids: Sequence[str]) -> list[records_pb2.TaskRecord]:
        await self._journal.settled()
        found = await self._storage.get([keys.task(task_id) for task_id in task_ids])
        for task_id, record in zip(task_ids, found, strict=True):
            if record is None:
                raise UnknownTask(task_id)
        return [records_pb2.TaskRecord.FromString(record.value) for record in found if record]

    async def _alone(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do one thing at a time, each to its end: a caller that goes away must not let the next one in early."""

        async def locked() -> _T:
            async with self._lock:
                return await work

        task = asyncio.ensure_future(locked())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)
