"""Recovery: the state that the records of live tasks describe."""

from collections.abc import Iterable

from hundredfold.internal.v1 import records_pb2

from hundredfold_coordinator.core import dropping, lifecycle
from hundredfold_coordinator.core.change import session_of
from hundredfold_coordinator.core.crew import crew_of
from hundredfold_coordinator.core.effects import Effect
from hundredfold_coordinator.core.resident import Resident
from hundredfold_coordinator.core.retry import SUSPECT_LOSSES, losses
from hundredfold_coordinator.core.state import State, attempt_id
from hundredfold_coordinator.core.timing import hold_until, set_deadlines
from hundredfold_coordinator.core.transaction import Transaction


def recover(
    state: State,
    records: Iterable[records_pb2.TaskRecord],
    now_ns: int,
    drops: Iterable[records_pb2.DropRecord] = (),
) -> list[Effect]:
    """Take up the live tasks of an earlier coordinator, in the order of their submission; return the alarms to set.

    Tasks with an attempt wait for its host to attach, or to be found dead. Sessions of running tasks are marked busy
    before any task is queued, so that none overtakes another.
    """
    tx = Transaction(now_ns)
    ordered = sorted(records, key=lambda record: (not _has_session(record), record.task.id))
    for record in ordered:
        task = record.task
        state.tasks[task.id] = record
        state.last_turn_ns = max(state.last_turn_ns, record.turn_ns)
        _readopt(state, record)
        if _has_session(record):
            state.queue.reserve(task.id, session_of(record))
        if task.state == lifecycle.QUEUED:
            hold_until(state, tx, record, task.next_attempt_time)
        if task.state not in lifecycle.ENDED:
            set_deadlines(tx, record)
    dropping.take_up(state, tx, drops)
    return tx.decision().effects


def _has_session(record: records_pb2.TaskRecord) -> bool:
    """Whether a task has its session to itself: it has begun, and is not over."""
    begun = len(record.task.attempts) > record.pardoned_attempts
    return bool(session_of(record)) and begun and record.task.state not in lifecycle.ENDED


def _readopt(state: State, record: records_pb2.TaskRecord) -> None:
    task = record.task
    for number in record.alive:
        state.alive[task.id, number] = task.attempts[number - 1].host
        state.shares.start(task.spec.tenant)
        state.behaviours[task.spec.behaviour] += 1
        if losses(record) >= SUSPECT_LOSSES:
            state.suspects.add((task.id, number))
        _readopt_resident(state, record, number)
    if record.credential_hash:
        state.credentials[record.credential_hash] = task.id
    if record.token_hash:
        state.tokens[record.token_hash] = attempt_id(record)


def _readopt_resident(state: State, record: records_pb2.TaskRecord, number: int) -> None:
    crew, live, attempt = crew_of(record), record.alive[number], record.task.attempts[number - 1]
    if crew is None:
        return
    current, is_newest = (record.task.id, number), number == len(record.task.attempts)
    key = (live.worker_task_id, live.worker_attempt) if live.worker_task_id else current
    made_ns = attempt.launch_time.ToNanoseconds()
    # The record has the credential of the newest attempt; whoever was given up before that has no say any more.
    credential_hash = record.credential_hash if is_newest else b""
    made = Resident(key, crew, attempt.host, credential_hash, made_ns, current=current)
    made.process.CopyFrom(live.process)
    made.reservation_bytes = attempt.reservation_bytes
    state.residents.add(made)
    _readopt_delivery(state, made, live)
    ending = attempt.outcome or (is_newest and record.HasField("end_request"))
    # One of a pool has the plugins of the coordinator before: it finishes what it is at, and is replaced.
    if ending or not crew.is_long_lived:
        state.residents.doom(made)


def _readopt_delivery(state: State, resident: Resident, live: records_pb2.LiveAttempt) -> None:
    """Let a resident say again what it has delivered: it may not have heard that this was taken."""
    if live.HasField("delivered"):
        said = live.delivered
        attempt = said.task_id, said.attempt
        state.residents.note_delivery(resident, attempt, said.digest, said.token_hash)
        state.tokens[said.token_hash] = attempt
