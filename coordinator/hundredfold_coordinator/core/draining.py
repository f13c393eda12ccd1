"""Stopping: nothing new, then nothing at all."""

from hundredfold.internal.v1 import records_pb2

from hundredfold_coordinator.core import lifecycle
from hundredfold_coordinator.core.events import DrainBegan, DrainExpired
from hundredfold_coordinator.core.handover import dismiss_all
from hundredfold_coordinator.core.state import State, attempt_id
from hundredfold_coordinator.core.timing import kill
from hundredfold_coordinator.core.transaction import Transaction


def begin(state: State, tx: Transaction, event: DrainBegan) -> None:
    """Accept and start nothing from here on."""
    state.draining = True
    dismiss_all(state, tx)
    tx.reply(event.reply)


def expire(state: State, tx: Transaction, event: DrainExpired) -> None:
    """End what still runs; each task goes back to the queue when its process is gone."""
    for key in state.alive:
        record = state.tasks[key[0]]
        running = attempt_id(record) == key and record.task.state in (lifecycle.LAUNCHING, lifecycle.RUNNING)
        if running and not record.HasField("end_request"):
            record.end_request.cause = records_pb2.END_CAUSE_DRAIN
            record.end_request.reason = "the coordinator stopped"
            tx.touch(record)
        kill(state, tx, key, event.grace_seconds)
