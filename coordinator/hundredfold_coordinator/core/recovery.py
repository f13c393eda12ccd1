"""Recovery: the state that the records of live tasks describe."""

from collections.abc import Iterable

from hundredfold.internal.v1 import records_pb2

from hundredfold_coordinator.core import lifecycle
from hundredfold_coordinator.core.state import State, attempt_id, current_attempt


def recover(state: State, records: Iterable[records_pb2.TaskRecord]) -> None:
    """Take up the live tasks of an earlier coordinator, in the order of their submission.

    Tasks with an attempt wait for its host to attach, or to be found dead. Sessions of running tasks are marked busy
    before any task is queued, so that none overtakes another.
    """
    ordered = sorted(records, key=lambda record: (record.task.state == lifecycle.QUEUED, record.task.id))
    for record in ordered:
        task = record.task
        state.tasks[task.id] = record
        if task.state == lifecycle.QUEUED:
            state.queue.add(task.id, task.spec.environment, task.spec.session)
        else:
            _readopt(state, record)


def _readopt(state: State, record: records_pb2.TaskRecord) -> None:
    task = record.task
    state.alive[attempt_id(record)] = current_attempt(record).host
    state.credentials[record.credential_hash] = task.id
    if record.token_hash:
        state.tokens[record.token_hash] = task.id
    if task.spec.session and task.state not in lifecycle.ENDED:
        state.queue.reserve(task.id, task.spec.session)
