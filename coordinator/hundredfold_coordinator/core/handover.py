"""Handing attempts to residents, and what becomes of those and of their attempts.

A resident's process is made for its first attempt as any other is. When it has delivered, it is given the next one in
the same commit, by the same rules as everything else that is started; or it waits, or is to end.
"""

from collections.abc import Set as AbstractSet
from hashlib import sha256
from typing import Final

from google.protobuf.duration_pb2 import Duration
from hundredfold.errors import Unauthenticated
from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import attempt_pb2, policy_pb2, task_pb2

from hundredfold_coordinator.core import alarms, lifecycle
from hundredfold_coordinator.core.admission import Closed, renew
from hundredfold_coordinator.core.change import forget_attempt, forget_if_gone, move, note_attempt, vacate
from hundredfold_coordinator.core.conclusion import conclude
from hundredfold_coordinator.core.crew import Crew
from hundredfold_coordinator.core.dropping import drop
from hundredfold_coordinator.core.effects import Remind
from hundredfold_coordinator.core.events import Awaited, Overstayed, Withdrawn
from hundredfold_coordinator.core.exit import failure_of, receipt_of
from hundredfold_coordinator.core.resident import Next, Resident
from hundredfold_coordinator.core.state import AttemptId, State, attempt_id, current_attempt
from hundredfold_coordinator.core.timing import watch_limit
from hundredfold_coordinator.core.transaction import Transaction

OVERSTAY_SECONDS: Final = 5.0
"""How long a worker may take to end after it has delivered, or was told to."""


# Who takes an attempt ---------------------------------------------------------------------------------------------


def free_resident(state: State, crew: Crew) -> Resident | None:
    """Return a resident that can take an attempt now."""
    for resident in state.residents.free(crew):
        host = state.hosts.get(resident.host)
        if host and not (host.silent or host.retiring):
            return resident
    return None


def closed(state: State, crew: Crew) -> Closed | None:
    """Return why no further resident may be made for a crew; None if one may."""
    if crew in state.drops:
        return task_pb2.GATE_KIND_POOL, f"agent {crew.agent} is gone, and those that waited for it are being dropped"
    most = 1 if crew.is_long_lived else state.limits.pool_size
    if state.residents.size(crew) < most:
        return None
    if crew.is_long_lived:
        return task_pb2.GATE_KIND_POOL, f"agent {crew.agent} takes one task after the other, and is busy or to end"
    return task_pb2.GATE_KIND_POOL, f"its pool has as many workers as `pool_size` allows, {most}, and all are busy"


def hand_over(state: State, tx: Transaction, record: records_pb2.TaskRecord, resident: Resident) -> None:
    """Commit a new attempt, of which the resident hears when that is durable."""
    number = len(record.task.attempts) + 1
    attempt = record.task.attempts.add(number=number, host=resident.host, pid=resident.process.pid)
    attempt.reservation_bytes = resident.reservation_bytes  # the next coordinator sets it aside again
    attempt.launch_time.CopyFrom(tx.now)
    attempt.start_time.CopyFrom(tx.now)
    if not record.task.HasField("start_time"):
        record.task.start_time.CopyFrom(tx.now)
    key, token = attempt_id(record), state.mint()
    record.worker_sequence = 0
    for field in ("end_request", "result_digest"):
        record.ClearField(field)
    record.credential_hash, record.token_hash = resident.credential_hash, sha256(token.encode()).digest()
    record.alive[number].CopyFrom(_live(resident))
    state.credentials[record.credential_hash] = record.task.id
    state.tokens[record.token_hash] = key
    note_attempt(state, tx, record, resident.host)
    if state.limits.memory_reserve_bytes:
        renew(state.hosts[resident.host], resident, tx.now_ns)
    state.residents.give(resident, key, token)
    pid = resident.process.pid
    move(tx, record, lifecycle.RUNNING, f"in process {pid}, which stays" if pid else "in a process that stays")
    watch_limit(state, tx, record)
    tx.reply(state.residents.answer(resident), Next(record, token))


def _live(resident: Resident) -> records_pb2.LiveAttempt:
    """Return what the next coordinator needs to know of a resident, with the attempt that it is at."""
    task_id, first = resident.key
    live = records_pb2.LiveAttempt(process=resident.process, worker_task_id=task_id, worker_attempt=first)
    if resident.delivered:
        (task_id, number), digest, token_hash = resident.delivered
        said = records_pb2.Delivery(task_id=task_id, attempt=number, digest=digest, token_hash=token_hash)
        live.delivered.CopyFrom(said)
    return live


# What residents say -----------------------------------------------------------------------------------------------


def release(  # all of it is what the worker says
    state: State,
    tx: Transaction,
    record: records_pb2.TaskRecord,
    digest: bytes,
    cpu_time: Duration,
    reply: object,
    *,
    wants_next: bool,
) -> bool:
    """Take a resident back from an attempt that it has delivered; return whether its worker is one.

    With a `reply` it hears at once of its next attempt, or that there is none; else it has to ask.
    """
    key = attempt_id(record)
    resident = state.residents.of(key)
    if resident is None:
        return False
    _forget_delivery(state, resident)
    state.residents.note_delivery(resident, key, digest, record.token_hash)
    attempt = current_attempt(record)
    attempt.receipt.process_stays = True
    attempt.receipt.cpu_time.CopyFrom(cpu_time)
    attempt.receipt.exit_time.CopyFrom(tx.now)
    attempt.receipt.wall_time.FromNanoseconds(max(0, tx.now_ns - attempt.start_time.ToNanoseconds()))
    token_hash = record.token_hash
    forget_attempt(state, tx, record, key)
    state.tokens[token_hash] = key  # it may say so again
    state.residents.take_back(resident)
    resident.done += 1
    resident.idle_ns = tx.now_ns
    if not wants_next or _is_worn(state, resident, tx.now_ns):
        state.residents.doom(resident)
    resident.waiter = reply
    state.residents.freed.append(resident)
    if reply is not None and not resident.doomed:
        state.residents.ask(resident, reply)
    return True


def answer_again(state: State, attempt: AttemptId, digest: bytes) -> Next | None:
    """Return what a resident was told when it delivered this before; None if it has not, or something else since."""
    resident = state.residents.deliverer(attempt)
    if resident is None or resident.delivered is None or resident.delivered[1] != digest:
        return None
    if resident.current and not resident.token:  # an earlier coordinator's: its worker asks, and takes it by credential
        return Next(stay=True)
    record = state.tasks.get(resident.current[0]) if resident.current else None
    return Next(record, resident.token, stay=not resident.doomed)


def answer_freed(state: State, tx: Transaction) -> None:
    """Answer those that have delivered and were given nothing more: they may ask again, or are to end."""
    freed, state.residents.freed = state.residents.freed, []
    for resident in freed:
        if resident.waiter is not None:
            _answer(state, tx, resident)


def wait(state: State, tx: Transaction, event: Awaited) -> None:
    """Note that a resident asks for its next attempt."""
    resident = state.residents.by_credential(event.credential_hash)
    if resident is None:
        tx.refuse(event.reply, Unauthenticated())
        return
    if resident.waiter is not None:  # a call that its worker has given up, or it would not ask again
        tx.reply(resident.waiter, Next())
    if state.draining:
        state.residents.doom(resident)
    state.residents.ask(resident, event.reply)
    if resident.doomed or resident.current:
        _answer(state, tx, resident)


def withdraw(state: State, tx: Transaction, event: Withdrawn) -> None:
    """Let a resident go that has asked for some time; one that was idle for too long is to end."""
    resident = state.residents.by_credential(event.credential_hash)
    if resident and resident.waiter is event.waiter:
        idle_seconds = (tx.now_ns - resident.idle_ns) / 1e9
        if not resident.crew.is_long_lived and idle_seconds >= state.limits.pool_idle_seconds:
            state.residents.doom(resident)
        _answer(state, tx, resident)


# The end of residents ---------------------------------------------------------------------------------------------


def dismiss_idle(state: State, tx: Transaction, served: AbstractSet[Crew]) -> None:
    """Have those residents end that wait and can be made again, but for crews that have something to do."""
    for resident in state.residents.idle():
        if not (resident.crew.is_long_lived or resident.crew in served):
            state.residents.doom(resident)
            _answer(state, tx, resident)


def dismiss_all(state: State, tx: Transaction) -> None:
    """Give no resident another attempt, and have those end that wait."""
    for resident in state.residents:
        state.residents.doom(resident)
        if resident.waiter is not None:
            _answer(state, tx, resident)


def end(state: State, tx: Transaction, resident: Resident, receipt: attempt_pb2.Receipt) -> None:
    """Take in that the process of a resident is gone, and with it the attempt that it ran."""
    key = resident.current
    record = state.tasks.get(key[0]) if key else None
    _forget(state, tx, resident)
    why = failure_of(receipt, policy_pb2.Limits()).message
    if record and key:
        why = record.end_request.reason or failure_of(receipt, record.task.spec.limits).message
        _end_attempt(state, tx, record, key, receipt, final=resident.crew.is_long_lived)
    if resident.crew.is_long_lived and not state.draining:
        drop(state, tx, resident, why)


def lose(state: State, tx: Transaction, resident: Resident, why: str) -> None:
    """Give up a resident whose process nobody can see any more; its attempt, if it has one, is the caller's."""
    _forget(state, tx, resident)
    if resident.crew.is_long_lived and resident.process.pid:  # else it never had anything in memory
        drop(state, tx, resident, why)


def _end_attempt(
    state: State,
    tx: Transaction,
    record: records_pb2.TaskRecord,
    key: AttemptId,
    receipt: attempt_pb2.Receipt,
    *,
    final: bool,
) -> None:
    """Conclude the attempt that died with its process; if `final`, its task is not tried again."""
    running = attempt_id(record) == key and record.task.state in (lifecycle.LAUNCHING, lifecycle.RUNNING)
    failure = failure_of(receipt, record.task.spec.limits)
    failure.non_retryable |= final
    record.task.attempts[key[1] - 1].receipt.CopyFrom(receipt_of(record, key[1], receipt))
    forget_attempt(state, tx, record, key)
    if running:
        conclude(state, tx, record, failure)
    forget_if_gone(state, tx, record)


def _answer(state: State, tx: Transaction, resident: Resident) -> None:
    """Tell a resident that there is nothing for it now; if it is doomed, that it is to end, and see that it does."""
    tx.reply(state.residents.answer(resident), Next(stay=not resident.doomed))
    if resident.doomed:
        overstayed = Overstayed(now_ns=tx.now_ns, attempt=resident.key)
        tx.then(Remind(alarms.attempt(resident.key), OVERSTAY_SECONDS, overstayed))


def _is_worn(state: State, resident: Resident, now_ns: int) -> bool:
    """Whether a resident is to be replaced: a pool's are, after so many attempts, bytes or seconds."""
    if resident.crew.is_long_lived:
        return False
    limits = state.limits
    age_seconds = (now_ns - resident.made_ns) / 1e9
    return (
        resident.done >= limits.pool_tasks
        or 0 < limits.pool_bytes < resident.used_bytes
        or age_seconds > limits.pool_seconds
    )


def _forget(state: State, tx: Transaction, resident: Resident) -> None:
    _forget_delivery(state, resident)
    if resident.waiter is not None:  # its worker does not wait any more, but the call does
        tx.reply(resident.waiter, Next(stay=False))
    state.residents.remove(resident)
    host = state.hosts.get(resident.host)
    if host:
        vacate(tx, host, resident.key)


def _forget_delivery(state: State, resident: Resident) -> None:
    """Let nobody speak in the name of the attempt before the last one."""
    if resident.delivered:
        state.tokens.pop(resident.delivered[2], None)
