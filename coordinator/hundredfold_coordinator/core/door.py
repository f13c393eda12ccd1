"""The door: what is not let in, why, and when to come again.

Cheap, and asked before anything else is done about what clients want written, so that refusing many costs next to
nothing.
"""

import math
from typing import Final

from hundredfold.errors import Draining, HundredfoldError, QueueFull, StoreFull, StoreUnreachable

from hundredfold_coordinator.core.state import State

ROOM_SECONDS: Final = 5
"""When to try again what was refused because the store was full."""
_DRAINED_SHARE: Final = 0.05
_STANDSTILL_SECONDS: Final = 5
"""When to try again if nothing was started for a minute."""
_LONGEST_SECONDS: Final = 60


def refusal(state: State, tenant: str, size: int, now_ns: int) -> HundredfoldError | None:
    """Return why a task of a tenant with an input of `size` bytes is not accepted now; None if it is."""
    if state.draining:
        return Draining()
    return shut(state) or _full_queue(state, tenant, size, now_ns)


def shut(state: State, *, frees_room: bool = False) -> HundredfoldError | None:
    """Return why nothing is written for a client now; None if it is. What frees room is, even if there is none left.

    Draining is no reason: what was written is durable when that is answered, and what runs may yet need it.
    """
    outage = state.store_outage
    if outage:
        # A new one for every caller: an error that is raised keeps those alive that it went through.
        return StoreUnreachable(outage.url, outage.problem, outage.retry_seconds)
    return StoreFull(ROOM_SECONDS) if state.store_full and not frees_room else None


def _full_queue(state: State, tenant: str, size: int, now_ns: int) -> QueueFull | None:
    limits, queue = state.limits, state.queue
    wait = _wait_seconds(state, now_ns)
    if len(queue) >= limits.queue_limit:
        return QueueFull(limits.queue_limit, "tasks", wait, "queue_limit")
    if queue.size + size > limits.queue_bytes:
        return QueueFull(limits.queue_bytes, "bytes of input", wait, "queue_bytes")
    if queue.counts[tenant] >= limits.tenant_queue_limit:
        return QueueFull(limits.tenant_queue_limit, f"tasks of tenant {tenant!r}", wait, "tenant_queue_limit")
    return None


def _wait_seconds(state: State, now_ns: int) -> int:
    """Return how long it takes to start a twentieth of what waits, at the rate of the last minute."""
    rate = state.starts.per_second(now_ns)
    if not rate:
        return _STANDSTILL_SECONDS
    return max(1, min(_LONGEST_SECONDS, math.ceil(len(state.queue) * _DRAINED_SHARE / rate)))
