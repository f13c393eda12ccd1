"""What a worker says about its attempt, from taking it to delivering what came of it."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

from hundredfold.errors import EventQuotaExceeded, HundredfoldError, SessionConflict, StaleAttempt, Unauthenticated
from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import attempt_pb2, task_pb2

from hundredfold_coordinator import keys
from hundredfold_coordinator.core import alarms, handover, lifecycle
from hundredfold_coordinator.core.change import end_attempt, end_task, move, note_process
from hundredfold_coordinator.core.conclusion import conclude
from hundredfold_coordinator.core.effects import Kill, Remind
from hundredfold_coordinator.core.events import CheckpointSaved, Completed, Emitted, Failed, Overstayed, Taken
from hundredfold_coordinator.core.resident import Next
from hundredfold_coordinator.core.session import comes_too_late, has_writes, overflow, write_session
from hundredfold_coordinator.core.state import AttemptId, State, attempt_id, current_attempt
from hundredfold_coordinator.core.timing import kill
from hundredfold_coordinator.core.transaction import Transaction


def take(state: State, tx: Transaction, event: Taken) -> None:
    """Let a worker begin. Idempotent."""
    record = state.by_credential(event.credential_hash)
    if record is None:
        tx.refuse(event.reply, Unauthenticated())
    elif record.task.state not in (lifecycle.LAUNCHING, lifecycle.RUNNING):
        tx.refuse(event.reply, StaleAttempt(*attempt_id(record)))
    else:
        if record.task.state == lifecycle.LAUNCHING:
            _begin(tx, record)
        if event.process and not record.alive[len(record.task.attempts)].process.pid:
            # Should its host die before it tells of it.
            note_process(state, tx, record, attempt_id(record), event.process)
        state.tokens.pop(record.token_hash, None)  # one that was given with the answer to a delivery, and got lost
        state.tokens[event.token_hash] = attempt_id(record)
        record.token_hash = event.token_hash
        tx.touch(record)
        tx.reply(event.reply, record)


def emit(state: State, tx: Transaction, event: Emitted) -> None:
    """Record events of a behaviour, each once."""
    record = _current(state, event.attempt)
    if record is None:
        tx.refuse(event.reply, StaleAttempt(*event.attempt))
        return
    _tell_emitted(state, tx, record, event.emitted)
    if any(one.worker_sequence > state.limits.event_quota for one in event.emitted):
        tx.refuse(event.reply, EventQuotaExceeded(state.limits.event_quota))
    else:
        tx.reply(event.reply)


def save_checkpoint(state: State, tx: Transaction, event: CheckpointSaved) -> None:
    """Keep what a behaviour saves for the task's next attempt."""
    if _current(state, event.attempt) is None:
        tx.refuse(event.reply, StaleAttempt(*event.attempt))
    else:
        tx.put(keys.checkpoint_of(event.attempt[0]), event.checkpoint)
        tx.reply(event.reply)


def complete(state: State, tx: Transaction, event: Completed) -> None:
    """Record a result and the session writes, once, in one batch."""
    record = _current(state, event.attempt)
    if record is None:
        _answer_repetition(state, tx, event, event.digest)
        return
    writes = bool(record.task.spec.session) and has_writes(event.session_writes)
    if writes and comes_too_late(event.session, event.session_writes):
        _lose_race(state, tx, record, event)
        return
    too_large = overflow(event.session, event.session_writes) if writes else None
    if too_large:
        failure = attempt_pb2.Failure(type="PayloadTooLarge", message=str(too_large))
        failure.outcome = attempt_pb2.ATTEMPT_OUTCOME_PROTOCOL_VIOLATION
        _refuse_result(state, tx, record, event, too_large, failure)
        return
    _tell_emitted(state, tx, record, event.emitted)
    if writes:
        write_session(state, tx, record.task.spec.session, event.session, event.session_writes, event.attempt)
    record.result_digest = event.digest
    for key, vector in event.memory:
        _write_memory(tx, key, vector, event.attempt)
    tx.put(keys.result_of(record.task.id), event.result)
    stays = _release(state, tx, record, event, event.digest)
    end_attempt(tx, record, attempt_pb2.ATTEMPT_OUTCOME_COMPLETED)
    end_task(state, tx, record, lifecycle.SUCCEEDED, result=event.result)
    if not stays:
        _expect_exit(tx, event.attempt)
        tx.reply(event.reply)


def fail(state: State, tx: Transaction, event: Failed) -> None:
    """Record a failure that the worker reports itself."""
    record = _current(state, event.attempt)
    digest = sha256(event.failure.SerializeToString(deterministic=True)).digest()
    if record is None:
        _answer_repetition(state, tx, event, digest)
        return
    _tell_emitted(state, tx, record, event.emitted)
    if record.HasField("end_request"):
        tx.reply(event.reply, Next(stay=False))  # what it raises because it is being ended is not its end: its exit is
        return
    record.result_digest = digest
    stays = _release(state, tx, record, event, digest)
    conclude(state, tx, record, event.failure)
    if not stays:
        _expect_exit(tx, event.attempt)
        tx.reply(event.reply)


def overstay(state: State, tx: Transaction, event: Overstayed) -> None:
    """Kill a worker that has delivered and does not end."""
    resident = state.residents.get(event.attempt)
    if resident:
        tx.then(Kill(resident.host, resident.key, 0))
    elif event.attempt in state.alive:
        kill(state, tx, event.attempt, 0)


def _release(
    state: State, tx: Transaction, record: records_pb2.TaskRecord, event: Completed | Failed, digest: bytes
) -> bool:
    """Take the worker back if it is one that stays, and have it answered; return whether it is."""
    return handover.release(state, tx, record, digest, event.cpu_time, event.reply, wants_next=event.wants_next)


def _write_memory(tx: Transaction, key: bytes, vector: records_pb2.VectorRecord | None, author: AttemptId) -> None:
    if vector is None:
        tx.delete(key)
        return
    vector.record.task_id, vector.record.attempt = author
    vector.record.update_time.CopyFrom(tx.now)
    tx.put(key, vector)


def _lose_race(state: State, tx: Transaction, record: records_pb2.TaskRecord, event: Completed) -> None:
    """End an attempt that comes too late for its session: the task is tried again with what is there by now."""
    session, expected = record.task.spec.session, event.session_writes.expected_version
    message = f"session {session!r} was written by another task while it ran"
    conflict = attempt_pb2.ATTEMPT_OUTCOME_CONFLICT
    failure = attempt_pb2.Failure(outcome=conflict, type="SessionConflict", message=message)
    _refuse_result(state, tx, record, event, SessionConflict(session, event.session.version, expected), failure)


def _refuse_result(
    state: State,
    tx: Transaction,
    record: records_pb2.TaskRecord,
    event: Completed,
    error: HundredfoldError,
    failure: attempt_pb2.Failure,
) -> None:
    """End an attempt whose result cannot be recorded; what it has emitted is."""
    tx.refuse(event.reply, error)
    _tell_emitted(state, tx, record, event.emitted)
    if not record.HasField("end_request"):
        stays = _release(state, tx, record, replace(event, reply=None), event.digest)  # it has been answered
        if not stays:
            _expect_exit(tx, event.attempt)
        conclude(state, tx, record, failure)


def _expect_exit(tx: Transaction, key: AttemptId) -> None:
    tx.then(Remind(alarms.attempt(key), handover.OVERSTAY_SECONDS, Overstayed(now_ns=tx.now_ns, attempt=key)))


def _begin(tx: Transaction, record: records_pb2.TaskRecord) -> None:
    current_attempt(record).start_time.CopyFrom(tx.now)
    if not record.task.HasField("start_time"):
        record.task.start_time.CopyFrom(tx.now)
    move(tx, record, lifecycle.RUNNING)


def _current(state: State, attempt: AttemptId) -> records_pb2.TaskRecord | None:
    """Return the task if this attempt may still change it: the fence."""
    record = state.tasks.get(attempt[0])
    if record is None or attempt_id(record) != attempt or record.task.state != lifecycle.RUNNING:
        return None
    return record


def _answer_repetition(state: State, tx: Transaction, event: Completed | Failed, digest: bytes) -> None:
    again = handover.answer_again(state, event.attempt, digest)
    if again:
        tx.reply(event.reply, again)
        return
    record = state.tasks.get(event.attempt[0])
    same = record and attempt_id(record) == event.attempt and record.result_digest == digest
    if same:
        tx.reply(event.reply)
    else:
        tx.refuse(event.reply, StaleAttempt(*event.attempt))


def _tell_emitted(
    state: State, tx: Transaction, record: records_pb2.TaskRecord, emitted: Sequence[task_pb2.Emitted]
) -> None:
    number = len(record.task.attempts)
    for one in emitted:
        if record.worker_sequence < one.worker_sequence <= state.limits.event_quota:
            record.worker_sequence = one.worker_sequence
            tx.tell(record, task_pb2.Event(attempt=number, emitted=one))
