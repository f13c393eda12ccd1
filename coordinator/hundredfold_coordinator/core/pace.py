"""How soon those that run make room for others."""

from hundredfold_coordinator.core import footprint
from hundredfold_coordinator.core.state import State


def seconds_to_start(state: State, position: int, now_ns: int) -> float | None:
    """Return when the `position`-th of those that wait will start; None if nobody knows how long what runs takes.

    Behaviours that are known take what half of their runs have taken; if there are others, what was started in the
    last minute counts, as soon as that has gone on for as long as the oldest of what runs.
    """
    loads = [load for host in state.hosts.values() for load in host.loads.values()]
    known = [state.footprints.get(load.behaviour) for load in loads]
    if loads and all(one and footprint.is_known(one) for one in known):
        return position / sum(1 / max(footprint.median_seconds(one), 1e-3) for one in known if one)
    oldest = max((load.age_seconds(now_ns) for load in loads), default=0.0)
    since = state.starts.seconds(now_ns)
    return position / state.starts.per_second(now_ns) if since > 1 + 2 * oldest else None
