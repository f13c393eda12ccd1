"""Dropping: the end of the tasks that waited for a long-lived agent which is gone; it had them in its memory.

They end a page at a time, so that no decision takes long, however many there are. Until the last of them has, their
crew is closed: nobody takes what that agent was to have. If the coordinator ends in between, the next one goes on.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Final

from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import attempt_pb2, task_pb2

from hundredfold_coordinator import keys
from hundredfold_coordinator.core import alarms, lifecycle
from hundredfold_coordinator.core.change import end_task
from hundredfold_coordinator.core.crew import Crew
from hundredfold_coordinator.core.drop import Drop
from hundredfold_coordinator.core.effects import Remind
from hundredfold_coordinator.core.events import DropContinued
from hundredfold_coordinator.core.resident import Resident
from hundredfold_coordinator.core.state import State
from hundredfold_coordinator.core.transaction import Transaction

PAGE: Final = 200
"""How many end in one decision: some 20 ms."""


def drop(state: State, tx: Transaction, resident: Resident, why: str) -> None:
    """End all that wait for an agent now, wherever they stand: for their turn, their time or their session."""
    crew = resident.crew
    if crew in state.drops:  # of one before it, which is known to be gone only now
        return
    message = f"it waited for agent {crew.agent}, process {resident.process.pid}, which is gone: {why}"
    failure = attempt_pb2.Failure(type="Dropped", message=message, outcome=attempt_pb2.ATTEMPT_OUTCOME_DROPPED)
    state.drops[crew] = Drop(resident.key[0], failure, state.queue.part(crew))
    _end_page(state, tx, crew)


def go_on(state: State, tx: Transaction, event: DropContinued) -> None:
    """End more of them."""
    if event.crew in state.drops:
        _end_page(state, tx, event.crew)


def take_up(state: State, tx: Transaction, records: Iterable[records_pb2.DropRecord]) -> None:
    """Go on with what an earlier coordinator has begun; whatever is queued for those agents by now is dropped."""
    for record in records:
        crew = Crew(record.environment, record.behaviour, record.strategy, record.agent)
        state.drops[crew] = Drop(record.task_id, record.failure, state.queue.part(crew), recorded=True)
        _come_back(tx, crew, record.task_id)


def _end_page(state: State, tx: Transaction, crew: Crew) -> None:
    found = state.drops[crew]
    dead = task_pb2.DEAD_LETTER_CAUSE_DROPPED
    for task_id in list(islice(found.waiting, PAGE)):
        end_task(state, tx, state.tasks[task_id], lifecycle.FAILED, failure=found.failure, dead=dead)
    if found.waiting:
        _record(tx, crew, found)
        _come_back(tx, crew, found.task_id)
        return
    del state.drops[crew]
    if found.recorded:
        tx.delete(keys.drop(found.task_id))


def _record(tx: Transaction, crew: Crew, found: Drop) -> None:
    if not found.recorded:
        found.recorded = True
        record = records_pb2.DropRecord(task_id=found.task_id, failure=found.failure)
        record.environment, record.behaviour, record.strategy, record.agent = crew[:4]
        tx.put(keys.drop(found.task_id), record)


def _come_back(tx: Transaction, crew: Crew, task_id: str) -> None:
    """Let others have a turn, and the store commit, before the next page."""
    tx.then(Remind(alarms.drop(task_id), 0, DropContinued(now_ns=tx.now_ns, crew=crew)))
