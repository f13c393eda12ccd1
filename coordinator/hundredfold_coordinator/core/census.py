"""How many tasks there are, by state and by gate; what that costs does not grow with the queue."""

from collections import Counter

from hundredfold.v1 import task_pb2

from hundredfold_coordinator.core import lifecycle
from hundredfold_coordinator.core.queue import Aside
from hundredfold_coordinator.core.scheduler import gate
from hundredfold_coordinator.core.state import State

_ASIDE = {Aside.HELD: task_pb2.GATE_KIND_DELAYED, Aside.IN_LINE: task_pb2.GATE_KIND_SESSION_BUSY}


def states(state: State) -> Counter[task_pb2.TaskState.ValueType]:
    """Return how many live tasks there are in each state, and how many have ended since the start."""
    begun = {task_id for task_id, _ in state.alive}
    counts = Counter(state.tasks[task_id].task.state for task_id in begun)
    counts = Counter({one: n for one, n in counts.items() if one in (lifecycle.LAUNCHING, lifecycle.RUNNING)})
    counts[lifecycle.QUEUED] = len(state.queue)
    return +counts + state.ended


def gates(state: State) -> Counter[task_pb2.GateKind.ValueType]:
    """Return how many queued tasks wait at each gate. The first of a lane speaks for those behind it."""
    counts = Counter({_ASIDE[place]: n for place, n in state.queue.places.items() if isinstance(place, Aside)})
    for lane, place in state.queue.heads():
        counts[gate(state, state.tasks[place.task_id]).kind] += state.queue.places[lane]
    return counts
