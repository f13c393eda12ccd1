"""The scheduler: starts what may start, and says of everything else which gate it waits at."""

from hashlib import sha256
from typing import Final

from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import policy_pb2, task_pb2
from hundredfold.wording import counted

from hundredfold_coordinator.core import admission, handover, lifecycle
from hundredfold_coordinator.core.admission import Closed
from hundredfold_coordinator.core.change import lane, move, note_attempt, session_of
from hundredfold_coordinator.core.crew import Crew, crew_of
from hundredfold_coordinator.core.effects import Launch
from hundredfold_coordinator.core.queue import Lane
from hundredfold_coordinator.core.reservation import Reservation, reservation
from hundredfold_coordinator.core.resident import Resident
from hundredfold_coordinator.core.retry import SUSPECT_LOSSES, may_be_evicted
from hundredfold_coordinator.core.state import HostState, State, attempt_id
from hundredfold_coordinator.core.transaction import Transaction

_PATIENCE_NS: Final = 30 * 1_000_000_000
"""How long smaller ones may pass a task that waits for memory."""


def dispatch(state: State, tx: Transaction) -> None:
    """Launch as many queued tasks as the gates let through."""
    while len(state.queue) and _closed_for_all(state) is None:
        found = _next(state, tx)
        if found is None:
            return
        chosen, taker = found
        record = state.tasks[state.queue.take(chosen)]
        if isinstance(taker, Resident):
            handover.hand_over(state, tx, record, taker)
        else:
            _launch(state, tx, record, taker)


def gate(state: State, record: records_pb2.TaskRecord) -> task_pb2.Gate:
    """Return why a queued task is not running."""
    closed = _closed_for_all(state)
    session = session_of(record)
    holder = state.queue.holder(session)
    if record.task.HasField("next_attempt_time"):
        when = record.task.next_attempt_time.ToDatetime().isoformat(" ", "seconds")
        closed = task_pb2.GATE_KIND_DELAYED, f"it may start at {when} UTC"
    elif holder not in (None, record.task.id):
        closed = task_pb2.GATE_KIND_SESSION_BUSY, f"task {holder} has session {session!r}"
    elif closed is None:
        closed = _closed_for_lane(state, lane(record)) or _place(state, record)[1] or held_up(state)
    kind, detail = closed or _NEXT
    return task_pb2.Gate(kind=kind, detail=detail)


def held_up(state: State) -> Closed | None:
    """Return that nothing passes a task that has waited too long for memory, if there is one."""
    if not state.unpassed:
        return None
    return task_pb2.GATE_KIND_MEMORY, f"task {state.unpassed} has waited for memory so long that nothing passes it"


_NEXT: Final[Closed] = (task_pb2.GATE_KIND_UNSPECIFIED, "it is about to be started")


def closed(state: State, environment: str, behaviour: str) -> Closed | None:
    """Return why nothing of a behaviour may be started in an environment, room or not; None if something may."""
    return _closed_for_all(state) or (
        None if roomiest(state, environment, behaviour) else _closed_for_environment(state, environment, behaviour)
    )


def roomiest(state: State, environment: str, behaviour: str) -> HostState | None:
    """Return the host with the fewest attempts of those that can start a behaviour in an environment."""
    return next(iter(_fit_hosts(state, environment, behaviour)), None)


def wanted_by(state: State, record: records_pb2.TaskRecord) -> Reservation:
    """Return what would be set aside for a task's next attempt."""
    spec = record.task.spec
    return reservation(state, spec.behaviour, spec.limits, record.reservation_floor_bytes)


def _next(state: State, tx: Transaction) -> tuple[Lane, HostState | Resident] | None:
    """Return which lane is served next, and by whom or where; by the turn of tenants, then by rank."""
    state.unpassed = ""
    heads = list(state.queue.heads())
    if len(heads) > 1:
        heads.sort(key=lambda head: (state.shares.turn(head[0].tenant), head[1]))
    short, served = False, set[Crew]()
    for found, place in heads:
        if _closed_for_lane(state, found):
            continue
        taker, closed = _place(state, state.tasks[place.task_id])
        if taker:
            return found, taker
        is_short = closed is not None and closed[0] == task_pb2.GATE_KIND_MEMORY
        if found.crew and (not is_short or handover.free_resident(state, found.crew)):
            served.add(found.crew)
        if not is_short:
            continue
        short = True
        if tx.now_ns - state.queue.denied_ns(place.task_id, tx.now_ns) > _PATIENCE_NS:
            state.unpassed = place.task_id  # or it would wait as long as there is anything smaller
            break
    if short:  # only now: whoever has just delivered may have been one of the takers
        handover.dismiss_idle(state, tx, served)
    return None


def _place(state: State, record: records_pb2.TaskRecord) -> tuple[HostState | Resident | None, Closed | None]:
    """Return who can take a task, or the host with the most room of those that may start it; else what keeps it."""
    environment, behaviour = record.task.spec.environment, record.task.spec.behaviour
    crew = crew_of(record)
    if crew:
        resident = handover.free_resident(state, crew)
        if resident:
            closed = admission.closed_for_resident(state, state.hosts[resident.host], resident)
            return (None, closed) if closed else (resident, None)
        if closed := handover.closed(state, crew):
            return None, closed
    hosts = _fit_hosts(state, environment, behaviour)
    if not hosts:
        return None, _closed_for_environment(state, environment, behaviour)
    wanted = wanted_by(state, record)
    why = None
    for host in hosts:
        why = admission.closed(state, host, behaviour, wanted)
        if why is None:
            return host, None
    return None, why


def _fit_hosts(state: State, environment: str, behaviour: str) -> list[HostState]:
    """Return the hosts that can start a behaviour in an environment, those with the fewest attempts first."""
    hosts = [host for host in state.hosts.values() if host.has(environment, behaviour) and _can_launch(host)]
    return sorted(hosts, key=lambda host: len(host.loads)) if len(hosts) > 1 else hosts


def _closed_for_lane(state: State, waiting: Lane) -> Closed | None:
    tenant_limit = state.limits.tenant_limits.get(waiting.tenant)
    behaviour_limit = state.limits.behaviour_limits.get(waiting.behaviour)
    if tenant_limit is not None and state.shares.alive[waiting.tenant] >= tenant_limit:
        told = f"tenant {waiting.tenant!r} has {counted(state.shares.alive[waiting.tenant], 'attempt')} alive"
        return task_pb2.GATE_KIND_TENANT_LIMIT, f"{told}, and `tenant_limits` allows it {tenant_limit}"
    if behaviour_limit is not None and state.behaviours[waiting.behaviour] >= behaviour_limit:
        told = f"behaviour {waiting.behaviour!r} has {counted(state.behaviours[waiting.behaviour], 'attempt')} alive"
        return task_pb2.GATE_KIND_BEHAVIOUR_LIMIT, f"{told}, and `behaviour_limits` allows it {behaviour_limit}"
    if not _admits(state, waiting.losses):
        return task_pb2.GATE_KIND_SUSPECT, f"it was there {waiting.losses} times when its host was lost"
    return None


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


def _closed_for_all(state: State) -> Closed | None:
    if state.draining:
        return task_pb2.GATE_KIND_DRAINING, "the coordinator is stopping; the next one starts it"
    if state.store_outage:
        return task_pb2.GATE_KIND_STORE_UNREACHABLE, f"the store does not answer: {state.store_outage.problem}"
    if state.store_full:
        return task_pb2.GATE_KIND_STORE_FULL, "the store is full; the room that is left is kept for what runs"
    if not state.hosts:
        return task_pb2.GATE_KIND_NO_HOST, "no host is connected yet"
    if len(state.alive) >= state.limits.concurrency:
        return (
            task_pb2.GATE_KIND_CONCURRENCY,
            f"{len(state.alive)} of {state.limits.concurrency} attempts are alive (`concurrency`)",
        )
    return None


def _closed_for_environment(state: State, environment: str, behaviour: str) -> Closed:
    hosts = [host for host in state.hosts.values() if environment in host.environments]
    able = [host for host in hosts if host.has(environment, behaviour)]
    if able:
        return task_pb2.GATE_KIND_NO_HOST, "; ".join(map(_hindrance, able))
    if hosts:
        return task_pb2.GATE_KIND_ENVIRONMENT, (
            f"environment {environment!r} has no behaviour {behaviour!r} any more; start the coordinator with the "
            "plugin that has it, or cancel the task (`hundredfold plugins` shows what there is)"
        )
    return task_pb2.GATE_KIND_ENVIRONMENT, f"environment {environment!r} is not ready"


def _can_launch(host: HostState) -> bool:
    return not (host.exhausted or host.silent or host.retiring)


def _hindrance(host: HostState) -> str:
    if host.retiring:
        return f"host {host.id} is of another version and takes no more"
    if host.silent:
        return f"host {host.id} has not been heard of for some seconds"
    return f"host {host.id} can make no process just now: {host.exhausted}"


def _launch(state: State, tx: Transaction, record: records_pb2.TaskRecord, host: HostState) -> None:
    """Commit a new attempt; its process follows when that is durable."""
    credential = state.mint()
    spec = record.task.spec
    number = len(record.task.attempts) + 1
    wanted = wanted_by(state, record)
    attempt = record.task.attempts.add(number=number, host=host.id, reservation_bytes=wanted.size)
    attempt.launch_time.CopyFrom(tx.now)
    record.credential_hash = sha256(credential.encode()).digest()
    record.worker_sequence = 0
    for field in ("end_request", "token_hash", "result_digest"):
        record.ClearField(field)
    record.alive[number].SetInParent()
    state.credentials[record.credential_hash] = record.task.id
    key = attempt_id(record)
    note_attempt(state, tx, record, host.id)
    admission.take_up(state, host, key, spec.behaviour, tx.now_ns, wanted.size, known=wanted.known)
    move(tx, record, lifecycle.LAUNCHING, f"on host {host.id}")
    crew = crew_of(record)
    if crew:
        made = Resident(key, crew, host.id, record.credential_hash, tx.now_ns, current=key)
        made.reservation_bytes = wanted.size
        state.residents.add(made)
    launch = Launch(
        host=host.id,
        attempt=key,
        environment=spec.environment,
        behaviour=spec.behaviour,
        credential=credential,
        limits=_of_its_process(spec.limits) if crew else spec.limits,
        grace_seconds=state.limits.grace_seconds,
        reservation_bytes=wanted.size,
        priority=spec.priority,
        evictable=may_be_evicted(record) and not (crew and crew.is_long_lived),
    )
    tx.then(launch)


def _of_its_process(limits: policy_pb2.Limits) -> policy_pb2.Limits:
    """Return those limits of an attempt that hold for a process with many of them, too."""
    return policy_pb2.Limits(
        memory_bytes=limits.memory_bytes, processes=limits.processes, descriptors=limits.descriptors
    )
