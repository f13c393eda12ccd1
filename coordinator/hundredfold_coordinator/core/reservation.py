"""How much memory is set aside for an attempt, and where that figure comes from."""

from typing import Final, NamedTuple

from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import policy_pb2

from hundredfold_coordinator.core import footprint
from hundredfold_coordinator.core.state import State

MIB: Final = 1 << 20
DEFAULT_BYTES: Final = 64 * MIB
"""For a behaviour of which nothing is known."""
GROWTH: Final = 1.5
"""By how much more an attempt gets than the one that was ended for its memory."""
_MARGIN: Final = 1.25
_LEAST_BYTES: Final = 16 * MIB
_UNKNOWN_SECONDS: Final = 2.0
_NOTHING: Final = records_pb2.FootprintRecord()


class Reservation(NamedTuple):
    """What is set aside.

    Attributes:
        size: in bytes.
        source: where it comes from, in a few words.
        runs: how many runs it was learned from; 0 if it was not learned.
        known: whether it is more than a guess.

    """

    size: int
    source: str
    runs: int
    known: bool


def reservation(state: State, behaviour: str, limits: policy_pb2.Limits, floor_bytes: int = 0) -> Reservation:
    """Return what to set aside for an attempt; its predecessors have shown that it needs `floor_bytes`."""
    found = _learned(state, behaviour, limits.memory_bytes)
    if floor_bytes > found.size:
        found = Reservation(floor_bytes, "an attempt that had less was ended for it", found.runs, found.known)
    most = _most_bytes(state)
    if most and found.size > most:
        found = found._replace(size=most, source="all that may be given away here")
    if limits.memory_bytes and found.size > limits.memory_bytes:
        found = found._replace(size=limits.memory_bytes, source="its limit: it may not have more")
    return found


def expected_seconds(state: State, behaviour: str) -> float:
    """Return how long an attempt is expected to take; for one that nobody knows, how long it is watched."""
    known = state.footprints.get(behaviour)
    return max(footprint.wall_seconds(known), 0.1) if known and footprint.is_known(known) else _UNKNOWN_SECONDS


def expected_cores(state: State, behaviour: str) -> float:
    """Return how many CPUs an attempt is expected to keep busy; 0 if nobody knows."""
    return footprint.cores(state.footprints.get(behaviour, _NOTHING))


def _most_bytes(state: State) -> int:
    """Return how much one attempt can have at all, on any of the hosts; 0 if nobody knows."""
    machines = [host.machine for host in state.hosts.values() if host.machine]
    return max(((one.memory_limit_bytes or one.memory_total_bytes) - one.headroom_bytes for one in machines), default=0)


def _learned(state: State, behaviour: str, declared: int) -> Reservation:
    known = state.footprints.get(behaviour, _NOTHING)
    runs = known.memory_bytes.count
    if footprint.is_known(known):
        return Reservation(
            footprint.peak_bytes(known), f"95 of 100 of its last runs used less ({runs} runs)", runs, known=True
        )
    if declared:
        return Reservation(declared, "its declared limit: too few runs have ended", runs, known=True)
    seen = max(state.seen_bytes.get(behaviour, 0), known.evicted_bytes, footprint.peak_bytes(known))
    if seen:
        size = max(_LEAST_BYTES, int(seen * _MARGIN))
        return Reservation(size, "a quarter more than it was seen to use: too few runs have ended", runs, known=False)
    return Reservation(DEFAULT_BYTES, "a guess: nothing is known of its behaviour", 0, known=False)
