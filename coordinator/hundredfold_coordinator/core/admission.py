"""Whether a host has room for one more: by bytes, by CPU and by what the kernel says of its pressure.

Bytes are what is free, less what was set aside for those that are there and not used yet, less the head-room: what
could be used up before anybody has noticed and ended something. A host with nothing on it always has room for one.

See also: `reservation`, for what an attempt is expected to need; docs/admission.md.
"""

from typing import Final, TypeAlias

from hundredfold.v1 import coordinator_service_pb2, task_pb2

from hundredfold_coordinator.core.load import Load
from hundredfold_coordinator.core.reservation import MIB, Reservation, expected_cores, expected_seconds
from hundredfold_coordinator.core.resident import Resident
from hundredfold_coordinator.core.state import AttemptId, HostState, State

Closed: TypeAlias = tuple[task_pb2.GateKind.ValueType, str]
"""A gate that is closed, and why, in one sentence."""

RAMP: Final = 16
"""How many attempts of which nothing is known are started at most before the first of them has been looked at."""
_LEAST_RAMP: Final = 4
_RAMP_BYTES: Final = 512 * MIB
"""Memory that must be free for each of them, but for the first few."""
CPU_OVERCOMMIT: Final = 2.0
"""How many attempts may want a CPU at once, for each CPU."""
BUSY_CORES: Final = 0.2
"""From how much on a behaviour counts as one that uses CPU."""
_STALLED: Final = 0.1
_SHORT: Final = 0.1
_MOST_SHARE: Final = 0.75
_GROWTH_SECONDS: Final = 1.0
"""How far ahead it is looked, if memory is being used up faster than was expected."""
_SEEN_SECONDS: Final = 0.5
"""How long an attempt must have been there before what it uses says something of others."""
_REASSESS_NS: Final = 200_000_000


def closed(state: State, host: HostState, behaviour: str, wanted: Reservation) -> Closed | None:
    """Return why an attempt may not be started on a host now; None if it may."""
    machine = host.machine
    if machine is None or not state.limits.memory_reserve_bytes:
        return _closed_by_cpu(state, host, behaviour) if machine else None
    return (
        _closed_by_memory(state, host, machine, wanted)
        or _closed_by_ramp(state, host, wanted)
        or _closed_by_cpu(state, host, behaviour)
        or _closed_by_pressure(host, machine)
    )


def closed_for_resident(state: State, host: HostState, resident: Resident) -> Closed | None:
    """Return why a worker that waits on a host may not be given an attempt now; None if it may.

    What it uses and what is still set aside for it, it has; the rest of what it was made with must be there again.
    """
    load, more = host.loads.get(resident.key), 0
    if load and host.machine and state.limits.memory_reserve_bytes:
        more = resident.reservation_bytes - load.used_bytes - load.outstanding_bytes(host.assessed_ns)
    if more > 0 and more > room_bytes(state, host) and not all(map(state.residents.rests, host.loads)):
        room = max(0, room_bytes(state, host)) // MIB
        return task_pb2.GATE_KIND_MEMORY, (
            f"its worker may need {more // MIB} MiB more than it uses, and {room} MiB may still be set aside"
        )
    return _closed_by_cpu(state, host, resident.crew.behaviour)


def renew(host: HostState, resident: Resident, now_ns: int) -> None:
    """Set aside again what a worker was made with, as far as it does not use it: it is given another attempt."""
    load = host.loads.get(resident.key)
    if load:
        before = load.outstanding_bytes(now_ns)
        load.reservation_bytes, load.renewed_ns = resident.reservation_bytes, now_ns
        host.outstanding_bytes += load.outstanding_bytes(now_ns) - before


def room_bytes(state: State, host: HostState) -> int:
    """Return how much may still be set aside on a host; below zero if too much was already."""
    machine = host.machine
    if machine is None:
        return 0
    # What was learned says how far it goes; of what nobody knows, only how fast it goes is known.
    growing = int(machine.memory_growth_bytes * _GROWTH_SECONDS) if host.guessing else 0
    return machine.memory_free_bytes - machine.headroom_bytes - max(reserved_bytes(state), growing)


def busy_cores(state: State) -> float:
    """Return how many CPUs the attempts on all hosts are expected to keep busy: they share one machine.

    A worker that waits for its next attempt keeps none busy.
    """
    rests = state.residents.rests
    return sum(load.cores for host in state.hosts.values() for key, load in host.loads.items() if not rests(key))


def reserved_bytes(state: State) -> int:
    """Return what is set aside and not used yet, on all hosts: they share one machine."""
    return sum(host.outstanding_bytes for host in state.hosts.values())


def take_up(
    state: State, host: HostState, key: AttemptId, behaviour: str, launched_ns: int, wanted: int, *, known: bool
) -> None:
    """Note what an attempt takes of a host."""
    cores, lasts = expected_cores(state, behaviour), expected_seconds(state, behaviour)
    host.loads[key] = Load(behaviour, wanted, cores, launched_ns, lasts, known)
    host.outstanding_bytes += wanted
    host.guessing |= not known
    state.ramp -= 1


def give_back(host: HostState, key: AttemptId, now_ns: int) -> None:
    """Note that an attempt is gone."""
    load = host.loads.pop(key, None)
    if load:
        host.outstanding_bytes = max(0, host.outstanding_bytes - load.outstanding_bytes(now_ns))


def had_it_all(state: State, key: AttemptId, peak_bytes: int) -> bool:
    """Whether an attempt was alone on the machine and used most of its memory: nobody can serve it with more."""
    host = state.hosts.get(state.alive[key])
    if host is None or host.machine is None or state.alive.keys() != {key}:
        return False
    return peak_bytes > _MOST_SHARE * (host.machine.memory_limit_bytes or host.machine.memory_total_bytes)


def reassess(state: State, host: HostState, now_ns: int) -> None:
    """Take in what a host has measured."""
    free = host.machine.memory_free_bytes if host.machine else 0
    state.ramp = max(_LEAST_RAMP, len(state.alive), min(RAMP, free // _RAMP_BYTES))
    if abs(now_ns - host.assessed_ns) >= _REASSESS_NS:  # for a thousand attempts it takes a millisecond
        host.assessed_ns = now_ns
        host.outstanding_bytes = sum(load.outstanding_bytes(now_ns) for load in host.loads.values())
        host.guessing = not all(load.known for load in host.loads.values())


def note_use(state: State, host: HostState, key: AttemptId, used_bytes: int, now_ns: int) -> None:
    """Take in what an attempt was seen to use."""
    load = host.loads.get(key)
    if load:
        before = load.outstanding_bytes(now_ns)
        load.used_bytes = used_bytes
        host.outstanding_bytes += load.outstanding_bytes(now_ns) - before  # what it gave back is set aside again
        if load.age_seconds(now_ns) >= _SEEN_SECONDS:
            state.seen_bytes[load.behaviour] = max(used_bytes, state.seen_bytes.get(load.behaviour, 0))


def _closed_by_memory(
    state: State, host: HostState, machine: coordinator_service_pb2.Machine, wanted: Reservation
) -> Closed | None:
    free, headroom = machine.memory_free_bytes, machine.headroom_bytes
    if free < headroom:
        return task_pb2.GATE_KIND_MEMORY, f"{free // MIB} MiB are free, {headroom // MIB} MiB are kept in reserve"
    if wanted.size <= room_bytes(state, host) or not host.loads:
        return None
    taken = reserved_bytes(state) // MIB
    growing = machine.memory_growth_bytes // MIB
    return task_pb2.GATE_KIND_MEMORY, (
        f"it needs {wanted.size // MIB} MiB ({wanted.source}); {free // MIB} MiB are free, of which {taken} MiB are "
        f"set aside for what runs and {headroom // MIB} MiB kept in reserve, and {growing} MiB more are used a second"
    )


def _closed_by_ramp(state: State, host: HostState, wanted: Reservation) -> Closed | None:
    if wanted.known or state.ramp > 0 or not host.loads:
        return None
    return task_pb2.GATE_KIND_RAMP, "nobody knows what its behaviour needs; those just started are looked at first"


def _closed_by_cpu(state: State, host: HostState, behaviour: str) -> Closed | None:
    machine, wanted = host.machine, expected_cores(state, behaviour)
    if machine is None or wanted < BUSY_CORES:
        return None
    busy, most = busy_cores(state), machine.cpu_count * CPU_OVERCOMMIT
    if not busy or busy + wanted <= most:
        return None
    return task_pb2.GATE_KIND_CPU, (
        f"it keeps {wanted:.1f} CPUs busy; those that run want {busy:.1f}, and {most:g} are allowed on "
        f"{machine.cpu_count} CPUs"
    )


def _closed_by_pressure(host: HostState, machine: coordinator_service_pb2.Machine) -> Closed | None:
    pressure = machine.pressure
    if pressure.memory_full < _STALLED or not host.loads:
        return None
    # Of the whole machine, it may be a stranger's that costs nobody else anything, as long as there is memory.
    short = machine.memory_free_bytes < _SHORT * machine.memory_total_bytes
    if pressure.scope == coordinator_service_pb2.PRESSURE_SCOPE_MACHINE and not short:
        return None
    return task_pb2.GATE_KIND_PRESSURE, f"what runs waits for memory {pressure.memory_full:.0%} of the time"
