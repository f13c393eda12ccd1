"""Submitting and cancelling: what clients want."""

from typing import Final

from hundredfold.errors import RequestIdReused, SessionBusy
from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import task_pb2

from hundredfold_coordinator import keys
from hundredfold_coordinator.core import lifecycle
from hundredfold_coordinator.core.change import end_task
from hundredfold_coordinator.core.conclusion import cancelled
from hundredfold_coordinator.core.crew import LONG_LIVED, agent_for
from hundredfold_coordinator.core.door import refusal
from hundredfold_coordinator.core.events import (
    CancelRequested,
    StoreOutageChanged,
    StoreRoomChanged,
    Submitted,
)
from hundredfold_coordinator.core.state import State
from hundredfold_coordinator.core.timing import ask_to_end, hold_until, set_deadlines
from hundredfold_coordinator.core.transaction import Transaction

_REMEMBERED_REQUESTS: Final = 100_000
_IMPATIENT: Final = frozenset({task_pb2.SESSION_POLICY_INTERRUPT, task_pb2.SESSION_POLICY_ROLLBACK})


def submit(state: State, tx: Transaction, event: Submitted) -> None:
    """Accept a task, or find the one that its request id has made already."""
    known = _known_request(state, event)
    if known:
        task_id, digest = known
        if digest != event.digest:
            tx.refuse(event.reply, RequestIdReused(event.request_id, task_id))
        else:
            tx.reply(event.reply, task_id)
    elif refused := refusal(state, event.spec.tenant, event.spec.input.ByteSize(), tx.now_ns) or _busy(state, event):
        tx.refuse(event.reply, refused)
    else:
        _make_way(state, tx, event)
        _accept(state, tx, event)


def cancel(state: State, tx: Transaction, event: CancelRequested) -> None:
    """End a waiting task; ask the process of a running one to end."""
    record = state.tasks.get(event.task_id)
    if record:
        _cancel(state, tx, record, event.reason or "cancelled by a client")
    tx.reply(event.reply)


def _cancel(state: State, tx: Transaction, record: records_pb2.TaskRecord, reason: str) -> None:
    if record.task.state == lifecycle.QUEUED:
        end_task(state, tx, record, lifecycle.CANCELLED, failure=cancelled(reason))
    elif record.task.state not in lifecycle.ENDED and record.end_request.cause != records_pb2.END_CAUSE_CANCEL:
        ask_to_end(state, tx, record, records_pb2.END_CAUSE_CANCEL, reason)


def change_room(state: State, tx: Transaction, event: StoreRoomChanged) -> None:  # noqa: ARG001  # as all handlers
    """Accept nothing while the store is full."""
    state.store_full = event.full


def change_outage(state: State, tx: Transaction, event: StoreOutageChanged) -> None:  # noqa: ARG001  # as all handlers
    """Accept nothing while the store does not answer."""
    state.store_outage = event.error


def _known_request(state: State, event: Submitted) -> tuple[str, bytes] | None:
    if event.stored:
        return event.stored.task_id, event.stored.digest
    return state.requests.get(event.request_id) if event.request_id else None


def _busy(state: State, event: Submitted) -> SessionBusy | None:
    """Return the refusal of a task that does not want to wait for its session."""
    holder = state.queue.holder(event.spec.session)
    if holder and event.spec.session_policy == task_pb2.SESSION_POLICY_REJECT:
        return SessionBusy(event.spec.session, holder)
    return None


def _make_way(state: State, tx: Transaction, event: Submitted) -> None:
    """Cancel those before a task in its session, if that is its policy."""
    session, policy = event.spec.session, event.spec.session_policy
    if not session or policy not in _IMPATIENT:
        return
    for task_id in [*state.queue.line(session), state.queue.holder(session)]:
        record = state.tasks.get(task_id or "")
        if record:
            if policy == task_pb2.SESSION_POLICY_ROLLBACK:
                record.drop_checkpoint = True
                tx.delete(keys.checkpoint_of(record.task.id))
                tx.touch(record)
            _cancel(state, tx, record, f"task {event.task_id} has taken its session")


def _accept(state: State, tx: Transaction, event: Submitted) -> None:
    task_id = event.task_id
    record = records_pb2.TaskRecord(request_id=event.request_id, input_bytes=event.spec.input.ByteSize())
    state.last_turn_ns = record.turn_ns = max(tx.now_ns, state.last_turn_ns)
    record.task.id = task_id
    record.task.spec.CopyFrom(event.spec)
    record.task.spec.ClearField("input")
    record.task.create_time.CopyFrom(tx.now)
    record.deadlines_from.CopyFrom(tx.now)
    record.task.state = lifecycle.QUEUED
    record.agent = agent_for(event.spec, state.limits.pool_size, state.turns)
    state.turns += event.spec.strategy in LONG_LIVED and not event.spec.session
    tx.tell(record, task_pb2.Event(state_change=task_pb2.StateChange(state=lifecycle.QUEUED)))
    tx.put(keys.live(task_id), new=True)
    tx.put(keys.input_of(task_id), event.spec.input)
    if event.request_id:
        request = records_pb2.RequestRecord(task_id=task_id, digest=event.digest)
        tx.put(keys.request(event.request_id), request, new=True)
        state.requests[event.request_id] = task_id, event.digest
        if len(state.requests) > _REMEMBERED_REQUESTS:
            del state.requests[next(iter(state.requests))]
    state.tasks[task_id] = record
    state.kept += 1
    hold_until(state, tx, record, event.spec.not_before)
    set_deadlines(tx, record)
    tx.reply(event.reply, task_id)
