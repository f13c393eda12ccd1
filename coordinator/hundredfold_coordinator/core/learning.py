"""What the end of an attempt teaches: of its behaviour, and of the task itself."""

from typing import Final

from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import attempt_pb2

from hundredfold_coordinator import keys
from hundredfold_coordinator.core import footprint
from hundredfold_coordinator.core.reservation import GROWTH
from hundredfold_coordinator.core.state import AttemptId, State
from hundredfold_coordinator.core.transaction import Transaction

_SHORT: Final = frozenset({attempt_pb2.ATTEMPT_OUTCOME_OOM_KILLED, attempt_pb2.ATTEMPT_OUTCOME_EVICTED})
_FEW: Final = 20
_EVERY: Final = 20
"""From `_FEW` runs on only so many together are worth a write: who is lost with a crash is made up for at once."""


def learn(state: State, tx: Transaction, record: records_pb2.TaskRecord, key: AttemptId) -> None:
    """Take in how an attempt has ended; its receipt is there."""
    attempt = record.task.attempts[key[1] - 1]
    behaviour = record.task.spec.behaviour
    known = state.footprints.setdefault(behaviour, records_pb2.FootprintRecord(behaviour=behaviour))
    if attempt.outcome in _SHORT:
        _learn_shortage(known, record, attempt)
    elif attempt.outcome == attempt_pb2.ATTEMPT_OUTCOME_COMPLETED:
        footprint.learn(known, attempt.receipt)
    else:
        return  # it might have needed more, had it gone on
    if footprint.is_known(known):
        state.seen_bytes.pop(behaviour, None)
    if known.wall_seconds.count <= _FEW or known.wall_seconds.count % _EVERY == 0:
        tx.put(keys.footprint(behaviour), known)


def _learn_shortage(
    known: records_pb2.FootprintRecord, record: records_pb2.TaskRecord, attempt: attempt_pb2.Attempt
) -> None:
    had = footprint.peak_of(attempt.receipt)
    footprint.learn_shortage(known, had)
    floor = int(GROWTH * max(had, attempt.reservation_bytes))
    record.reservation_floor_bytes = max(record.reservation_floor_bytes, floor)
