"""The scheduler: starts what may start, and says of everything else which gate it waits at."""

from hashlib import sha256
from typing import Final

from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import task_pb2

from hundredfold_coordinator.core import lifecycle
from hundredfold_coordinator.core.change import move
from hundredfold_coordinator.core.effects import Launch
from hundredfold_coordinator.core.queue import Lane
from hundredfold_coordinator.core.retry import losses
from hundredfold_coordinator.core.state import HostState, State, attempt_id
from hundredfold_coordinator.core.transaction import Transaction

SUSPECT_LOSSES: Final = 2
"""From this number of lost hosts on, a task may be why."""


def dispatch(state: State, tx: Transaction) -> None:
    """Launch as many queued tasks as the gates let through, oldest first."""
    while len(state.queue) and _closed_for_all(state) is None:
        task_id = state.queue.pop(_open_lanes(state))
        if task_id is None:
            return
        record = state.tasks[task_id]
        _launch(state, tx, record, _roomiest(state, record.task.spec.environment))


def gate(state: State, record: records_pb2.TaskRecord) -> task_pb2.Gate:
    """Return why a queued task is not running."""
    closed = _closed_for_all(state)
    holder = state.queue.holder(record.task.spec.session)
    if record.task.HasField("next_attempt_time"):
        when = record.task.next_attempt_time.ToDatetime().isoformat(" ", "seconds")
        closed = task_pb2.GATE_KIND_DELAYED, f"it may start at {when} UTC"
    elif holder not in (None, record.task.id):
        closed = task_pb2.GATE_KIND_SESSION_BUSY, f"task {holder} has session {record.task.spec.session!r}"
    elif closed is None and not _admits(state, losses(record)):
        closed = task_pb2.GATE_KIND_SUSPECT, f"it was there {losses(record)} times when its host was lost"
    elif closed is None:
        closed = _closed_for_environment(state, record.task.spec.environment)
    return task_pb2.Gate(kind=closed[0], detail=closed[1])


def _open_lanes(state: State) -> list[Lane]:
    """Return the lanes from which something could be launched now."""
    ready = {name for host in state.hosts.values() if _can_launch(state, host) for name in host.environments}
    return [(name, lost) for name, lost in state.queue.lanes if name in ready and _admits(state, lost)]


def _admits(state: State, lost: int) -> bool:
    """Whether a task that has lost its host so often may run beside the other suspects.

    With each loss it shares the next host with a quarter as many of its kind, so that the one that kills hosts is found
    out, and takes only few down with it: splitting, as in group testing. A quarter, because whoever is innocent must be
    alone before it has lost as many hosts as put a task into quarantine, however many may run at once.
    """
    return lost < SUSPECT_LOSSES or len(state.suspects) < most_suspects(state.limits.concurrency, lost)


def most_suspects(concurrency: int, lost: int) -> int:
    """Return how many tasks may run at once of those that have lost their host at least twice, one of them so often."""
    return max(1, concurrency >> 2 * (lost - 1))


_Closed = tuple[task_pb2.GateKind.ValueType, str]


def _closed_for_all(state: State) -> _Closed | None:
    if state.draining:
        return task_pb2.GATE_KIND_DRAINING, "the coordinator is stopping; the next one starts it"
    if state.store_full:
        return task_pb2.GATE_KIND_STORE_FULL, "the store is full; the room that is left is kept for what runs"
    if not state.hosts:
        return task_pb2.GATE_KIND_NO_HOST, "no host is connected yet"
    if len(state.alive) >= state.limits.concurrency:
        return task_pb2.GATE_KIND_CONCURRENCY, f"{len(state.alive)} of {state.limits.concurrency} attempts are alive"
    return None


def _closed_for_environment(state: State, environment: str) -> _Closed:
    hosts = [host for host in state.hosts.values() if environment in host.environments]
    if hosts and not any(_has_memory(state, host) for host in hosts):
        free, reserve = (hosts[0].memory_available_bytes or 0) >> 20, state.limits.memory_reserve_bytes >> 20
        return task_pb2.GATE_KIND_MEMORY, f"{free} MiB are available, {reserve} MiB are kept in reserve"
    hindered = [host for host in hosts if (host.exhausted or host.silent or host.retiring)]
    if hosts and len(hindered) == len(hosts):
        return task_pb2.GATE_KIND_NO_HOST, "; ".join(map(_hindrance, hindered))
    return task_pb2.GATE_KIND_ENVIRONMENT, f"environment {environment!r} is not ready"


def _has_memory(state: State, host: HostState) -> bool:
    return host.memory_available_bytes is None or host.memory_available_bytes >= state.limits.memory_reserve_bytes


def _can_launch(state: State, host: HostState) -> bool:
    usable = not (host.exhausted or host.silent or host.retiring)
    return usable and _has_memory(state, host)


def _hindrance(host: HostState) -> str:
    if host.retiring:
        return f"host {host.id} is of another version and takes no more"
    if host.silent:
        return f"host {host.id} has not been heard of for some seconds"
    return f"host {host.id} can make no process just now: {host.exhausted}"


def _roomiest(state: State, environment: str) -> HostState:
    fit = [host for host in state.hosts.values() if environment in host.environments and _can_launch(state, host)]
    return min(fit, key=lambda host: len(host.attempts))


def _launch(state: State, tx: Transaction, record: records_pb2.TaskRecord, host: HostState) -> None:
    """Commit a new attempt; its process follows when that is durable."""
    credential = state.mint()
    number = len(record.task.attempts) + 1
    attempt = record.task.attempts.add(number=number, host=host.id)
    attempt.launch_time.FromNanoseconds(tx.now_ns)
    record.credential_hash = sha256(credential.encode()).digest()
    record.worker_sequence = 0
    for field in ("end_request", "token_hash", "result_digest"):
        record.ClearField(field)
    record.alive[number].SetInParent()
    state.credentials[record.credential_hash] = record.task.id
    key = attempt_id(record)
    if losses(record) >= SUSPECT_LOSSES:
        state.suspects.add(key)
    state.alive[key] = host.id
    host.attempts.add(key)
    move(tx, record, lifecycle.LAUNCHING, f"on host {host.id}")
    spec = record.task.spec
    grace = state.limits.grace_seconds
    tx.then(Launch(host.id, key, spec.environment, spec.behaviour, credential, spec.limits, grace))
