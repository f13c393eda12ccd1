"""Contexts: what attempts are given to begin with, read while their processes are being made."""

import asyncio
from typing import Final

from hundredfold.v1 import payload_pb2, session_pb2, task_pb2

from hundredfold_coordinator import keys
from hundredfold_coordinator.core.effects import Launch
from hundredfold_coordinator.core.state import AttemptId, State
from hundredfold_coordinator.inputs import RecentInputs
from hundredfold_coordinator.sessions import Sessions
from hundredfold_coordinator.storage import Storage

Context = tuple[payload_pb2.Payload, payload_pb2.Payload | None, session_pb2.Session | None]
"""Input, checkpoint and session of a task; None for what it does not have."""
_SLACK: Final = 100


class Contexts:
    """Reads contexts from `storage`, ahead of time where that takes a moment."""

    def __init__(self, state: State, storage: Storage, sessions: Sessions, inputs: RecentInputs) -> None:
        self._state = state
        self._storage = storage
        self._sessions = sessions
        self._inputs = inputs
        self._reading: dict[AttemptId, asyncio.Future[Context]] = {}

    def prepare(self, launch: Launch) -> None:
        """Begin to read the context of an attempt that is being launched."""
        record = self._state.tasks.get(launch.attempt[0])
        if record is None:
            return
        task = record.task
        if task.spec.session or len(task.attempts) > 1:  # all else is at hand, or read as fast when it is asked for
            reading = asyncio.ensure_future(self._read(task.id, task.spec.session, first=len(task.attempts) == 1))
            reading.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._reading[launch.attempt] = reading
            self._forget_the_dead()

    async def take(self, attempt: AttemptId, task: task_pb2.Task) -> Context:
        """Return the context of an attempt, once; who asks again has it read again."""
        reading = self._reading.pop(attempt, None)
        if reading and not (reading.done() and reading.exception()):
            return await reading
        return await self._read(task.id, task.spec.session, first=len(task.attempts) == 1)

    async def _read(self, task_id: str, session_id: str, *, first: bool) -> Context:
        session = await self._sessions.context(session_id) if session_id else None
        recent = self._inputs.take(task_id)
        if recent and first:  # which has no checkpoint
            return recent, None, session
        found = await self._storage.get([keys.input_of(task_id), keys.checkpoint_of(task_id)])
        given, saved = (payload_pb2.Payload.FromString(one.value) if one else None for one in found)
        return given or payload_pb2.Payload(), saved, session

    def _forget_the_dead(self) -> None:
        """Forget what was read for attempts that never came to take it."""
        if len(self._reading) > 2 * len(self._state.alive) + _SLACK:
            self._reading = {key: reading for key, reading in self._reading.items() if key in self._state.alive}
