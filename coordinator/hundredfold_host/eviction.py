"""Eviction: which attempts are ended to save the machine, and when.

Between two marks, so that it does not flap: it begins when less than half of the head-room would be left by the time
that anything is done about it, and ends as many as it takes to have the whole of it again. It is the host's business
because nobody is closer: a coordinator may be slow, or away.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hundredfold.v1 import coordinator_service_pb2 as pb

from hundredfold_host.worker import AttemptId

_MIB: Final = 1 << 20
_LOW_SHARE: Final = 0.5
AHEAD_SECONDS: Final = 0.5
"""How far ahead it looks: a sample, a kill, and what a busy kernel needs to take gigabytes apart."""
_OVER: Final = 1.25
"""From how many times its reservation on an attempt counts as one that nobody knows the end of."""
_SLACK_BYTES: Final = 32 * _MIB
"""How much more than its reservation says nothing: with fewer neighbours, more of the zygote's memory is its own."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An attempt that may be evicted.

    Attributes:
        key: the attempt.
        used_bytes: what its end would give back.
        reservation_bytes: what was set aside for it.
        priority: that of its task.
        forked_ns: when it began.
        retriable: whether its task would be tried again.

    """

    key: AttemptId
    used_bytes: int
    reservation_bytes: int
    priority: int
    forked_ns: int
    retriable: bool = True

    @property
    def over(self) -> bool:
        """Whether it uses so much more than was set aside for it that this says nothing any more."""
        return self.used_bytes > max(_OVER * self.reservation_bytes, self.reservation_bytes + _SLACK_BYTES)

    @property
    def spared(self) -> bool:
        """Whether its end would be the last resort: it keeps to its reservation, and nobody would try again."""
        return not (self.over or self.retriable)


def growth_ahead(machine: pb.Machine, attempts: Iterable[Candidate]) -> int:
    """Return how much more will be used soon: what is promised to attempts at most, if all keep to that."""
    attempts = list(attempts)
    ahead = int(machine.memory_growth_bytes * AHEAD_SECONDS)
    if any(attempt.over for attempt in attempts):
        return ahead
    return min(ahead, sum(max(0, attempt.reservation_bytes - attempt.used_bytes) for attempt in attempts))


def shortage_bytes(machine: pb.Machine, dying_bytes: int, ahead_bytes: int) -> int:
    """Return how much memory has to be given back now.

    Args:
        machine: as it is.
        dying_bytes: what those will give back that are being ended already.
        ahead_bytes: what will be used before anything that is done now has an effect.

    """
    left = machine.memory_free_bytes + dying_bytes - ahead_bytes
    return machine.headroom_bytes - left if left < machine.headroom_bytes * _LOW_SHARE else 0


def choose(candidates: Iterable[Candidate], needed_bytes: int, needed_now_bytes: int = 0) -> list[Candidate]:
    """Return as many as it takes: first those that use more than was set aside, then low priorities, then the young.

    Who keeps to its reservation and would not be tried again is spared, unless nobody else is left and memory is short
    already: then the kernel would choose, and it might choose a daemon.

    Args:
        candidates: those that could be ended.
        needed_bytes: what has to be given back.
        needed_now_bytes: how much of that is not only foreseen.

    """
    chosen = []
    for candidate in sorted(candidates, key=_order):
        if (needed_now_bytes if candidate.spared else needed_bytes) <= 0:
            break
        chosen.append(candidate)
        needed_bytes -= candidate.used_bytes
        needed_now_bytes -= candidate.used_bytes
    return chosen


def sentence(machine: pb.Machine, victim: Candidate) -> str:
    """Return why an attempt was evicted, for a person."""
    where = f"of {machine.memory_limit_bytes // _MIB} in its cgroup" if machine.memory_limit_bytes else "on the machine"
    return (
        f"{machine.memory_free_bytes // _MIB} MiB were free {where}, {machine.headroom_bytes // _MIB} MiB are kept in "
        f"reserve, and {machine.memory_growth_bytes // _MIB} MiB more were used every second; it used "
        f"{victim.used_bytes // _MIB} MiB, with {victim.reservation_bytes // _MIB} MiB set aside for it"
    )


def _order(candidate: Candidate) -> tuple[bool, bool, bool, int, int]:
    within = candidate.used_bytes <= candidate.reservation_bytes + _SLACK_BYTES
    return candidate.spared, within, not candidate.retriable, candidate.priority, -candidate.forked_ns
