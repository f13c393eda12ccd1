"""Assignments: an attempt as its worker is given it."""

import time
from dataclasses import dataclass

from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import session_pb2
from hundredfold.v1 import worker_service_pb2 as pb

from hundredfold_coordinator.contexts import Contexts
from hundredfold_coordinator.core.crew import crew_of
from hundredfold_coordinator.core.resident import Next
from hundredfold_coordinator.core.state import attempt_id
from hundredfold_coordinator.core.timing import remaining_seconds


@dataclass(frozen=True, slots=True)
class Assignments:
    """Makes assignments; `contexts` has what goes with them, the rest are the limits that every worker is told."""

    contexts: Contexts
    max_payload_bytes: int
    event_quota: int

    async def of(self, record: records_pb2.TaskRecord, token: str) -> pb.NextAttemptResponse:
        """Return the newest attempt of a task, with everything it needs to begin."""
        key, task, crew = attempt_id(record), record.task, crew_of(record)
        keep_session = bool(crew and crew.is_long_lived and task.spec.session)
        given, checkpoint, session = await self.contexts.take(key, task)
        response = pb.NextAttemptResponse(
            task_id=task.id,
            attempt=key[1],
            token=token,
            behaviour=task.spec.behaviour,
            input=given,
            session=session_pb2.Session(id=task.spec.session) if keep_session else session,
            checkpoint=checkpoint,
            max_payload_bytes=self.max_payload_bytes,
            event_quota=self.event_quota,
            stay=crew is not None,
            keep_session=keep_session,
        )
        if task.spec.HasField("injection"):
            response.injection.CopyFrom(task.spec.injection)
            if key[1] > 1:
                response.injection.ClearField("fault")
        remaining = remaining_seconds(record, time.time_ns())
        if remaining is not None:
            response.remaining_time.FromNanoseconds(int(remaining * 1e9))
        return response

    async def next(self, answer: Next | None) -> pb.NextAttemptResponse | None:
        """Return what a worker is told that has delivered, or asks again; None if it does not stay."""
        if answer is None:
            return None
        if answer.record is None:
            return pb.NextAttemptResponse(stay=answer.stay)
        return await self.of(answer.record, answer.token)
