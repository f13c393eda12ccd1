"""Tasks as clients see them, read from the store; what only the live state knows is added."""

from collections.abc import Sequence

from hundredfold.errors import UnknownTask
from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import payload_pb2, task_pb2

from hundredfold_coordinator import keys
from hundredfold_coordinator.core import lifecycle, scheduler
from hundredfold_coordinator.core.state import State
from hundredfold_coordinator.storage import Storage


class Tasks:
    """Reads tasks. What it returns is durable, never just decided."""

    def __init__(self, state: State, storage: Storage) -> None:
        self._state = state
        self._storage = storage

    async def load(self, task_id: str, *, with_input: bool = False, with_result: bool = False) -> task_pb2.Task:
        """Return one task.

        Raises:
            UnknownTask: there is none of that id.

        """
        # What is not wanted is not read: it may be megabytes.
        large = {keys.input_of(task_id): with_input, keys.result_of(task_id): with_result}
        wanted = [key for key, with_it in large.items() if with_it]
        record, *found = await self._storage.get([keys.task(task_id), *wanted])
        if record is None:
            raise UnknownTask(task_id)
        task = self.view(record.value)
        values = dict(zip(wanted, found, strict=True))
        if given := values.get(keys.input_of(task_id)):
            task.spec.input.ParseFromString(given.value)
        if result := values.get(keys.result_of(task_id)):
            task.result.ParseFromString(result.value)
        return task

    async def load_results(self, task_ids: Sequence[str]) -> list[task_pb2.Task]:
        """Return tasks with their results and without their input.

        Raises:
            UnknownTask: names the first that does not exist.

        """
        records = await self._storage.get(list(map(keys.task, task_ids)))
        results = await self._storage.get(list(map(keys.result_of, task_ids)))
        tasks = []
        for task_id, record, result in zip(task_ids, records, results, strict=True):
            if record is None:
                raise UnknownTask(task_id)
            task = self.view(record.value)
            if result:
                task.result.CopyFrom(payload_pb2.Payload.FromString(result.value))
            tasks.append(task)
        return tasks

    def view(self, data: bytes) -> task_pb2.Task:
        """Return the task in a stored record, with the gate it waits at."""
        task = records_pb2.TaskRecord.FromString(data).task
        live = self._state.tasks.get(task.id)
        if task.state == lifecycle.QUEUED and live and live.task.state == lifecycle.QUEUED:
            task.gate.CopyFrom(scheduler.gate(self._state, live))
        return task
