"""The queue: what waits, in lanes that are served or not as a whole, one at a time per session.

Which lane is served next is the scheduler's choice; inside a lane it is by rank, then first come first served.
"""

import heapq
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from itertools import count
from typing import NamedTuple

from hundredfold_coordinator.core.crew import Crew


class Lane(NamedTuple):
    """What all tasks have in common that wait at the same gates.

    Attributes:
        tenant: whom they are for.
        environment: where they can run.
        behaviour: what they are.
        losses: how often they have lost their host.
        crew: whose workers take them; None if each has a process of its own.

    """

    tenant: str
    environment: str
    behaviour: str
    losses: int
    crew: Crew | None = None


class Aside(Enum):
    """Where a task stands that is in no lane."""

    HELD = auto()
    """It waits for its time."""
    IN_LINE = auto()
    """It waits for its session."""


class Place(NamedTuple):
    """A task's place in its lane: lower ranks first. Task ids sort by the time of submission.

    A place whose ticket is not the task's own any more is void: the task was taken out while it waited.
    """

    rank: float
    task_id: str
    ticket: int


@dataclass(slots=True)
class _Waiting:
    ticket: int
    tenant: str
    size: int
    following: dict[str, None] | None
    place: "Lane | Aside" = Aside.HELD
    denied_ns: int = 0


class Queue:
    """Waiting tasks, by lane and session.

    Attributes:
        counts: how many wait, by tenant.
        sizes: bytes of what waits, by tenant.
        places: how many wait in each lane, and how many aside.

    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.sizes: Counter[str] = Counter()
        self.places: Counter[Lane | Aside] = Counter()
        self._ready: dict[Lane, list[Place]] = {}
        self._lines: dict[str, deque[tuple[Lane, Place]]] = {}
        self._busy: dict[str, str] = {}
        self._waiting: dict[str, _Waiting] = {}
        self._followings: dict[Crew, dict[str, None]] = {}
        self._tickets = count(1)

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._waiting

    @property
    def size(self) -> int:
        """Bytes of all that waits."""
        return self.sizes.total()

    def hold(self, task_id: str, tenant: str = "", size: int = 0, crew: Crew | None = None) -> None:
        """Note a task that waits and is not ready yet; `add` follows when it is."""
        following = self._following(task_id, crew)
        self._forget(task_id)
        self._waiting[task_id] = _Waiting(next(self._tickets), tenant, size, following)
        if following is not None:
            following[task_id] = None
        self.counts[tenant] += 1
        self.sizes[tenant] += size
        self.places[Aside.HELD] += 1

    def add(self, task_id: str, lane: Lane, session: str, rank: float = 0, size: int = 0) -> None:
        """Add a task. One that was given back to the queue keeps its session, and its place."""
        self.hold(task_id, lane.tenant, size, lane.crew)
        place = Place(rank, task_id, self._waiting[task_id].ticket)
        if session and self._busy.setdefault(session, task_id) != task_id:
            self._lines.setdefault(session, deque()).append((lane, place))
            self._stand(task_id, Aside.IN_LINE)
        else:
            self._put(lane, place)

    def heads(self) -> Iterator[tuple[Lane, Place]]:
        """Yield the first task that is ready in each lane that has one."""
        for lane in list(self._ready):
            head = self._head(lane)
            if head:
                yield lane, head

    def take(self, lane: Lane) -> str:
        """Take the first task out of a lane that has one."""
        place = heapq.heappop(self._ready[lane])
        self._head(lane)
        self._forget(place.task_id)
        return place.task_id

    def remove(self, task_id: str, session: str) -> None:
        """Take a waiting task out, wherever it stands."""
        self._forget(task_id)
        self.release(task_id, session)

    def release(self, task_id: str, session: str) -> None:
        """Let the next task of a session come, if `task_id` was the one in front."""
        if not session or self._busy.get(session) != task_id:
            return
        del self._busy[session]
        line = self._lines.get(session, deque())
        while line:
            lane, place = line.popleft()
            if self._is_valid(place):
                self._busy[session] = place.task_id
                self._put(lane, place)
                return
        self._lines.pop(session, None)

    def part(self, crew: Crew) -> dict[str, None]:
        """Return those that wait for a long-lived agent, wherever they stand; whoever comes later is none of them.

        They leave what is returned as they leave the queue, and only then.
        """
        return self._followings.pop(crew, {})

    def denied_ns(self, task_id: str, now_ns: int) -> int:
        """Note that a task was its lane's first and could not be started; return since when that is so."""
        waiting = self._waiting[task_id]
        waiting.denied_ns = waiting.denied_ns or now_ns
        return waiting.denied_ns

    def reserve(self, task_id: str, session: str) -> None:
        """Note that a task that is not ready has the session."""
        self._busy[session] = task_id

    def holder(self, session: str) -> str | None:
        """Return the task that has the session; None if none has."""
        return self._busy.get(session)

    def line(self, session: str) -> list[str]:
        """Return the tasks that wait for a session, in order."""
        return [place.task_id for _, place in self._lines.get(session, ()) if self._is_valid(place)]

    def ahead(self, lane: Lane, place: Place) -> int:
        """Return how many ready tasks of the same tenant come before a place."""
        lanes = [ready for other, ready in self._ready.items() if other.tenant == lane.tenant]
        return sum(other < place and self._is_valid(other) for ready in lanes for other in ready)

    def _following(self, task_id: str, crew: Crew | None) -> dict[str, None] | None:
        """Return whom a task waits with for its long-lived agent: as before, if it is here; None if it has none."""
        known = self._waiting.get(task_id)
        if known:
            return known.following
        return self._followings.setdefault(crew, {}) if crew and crew.is_long_lived else None

    def _put(self, lane: Lane, place: Place) -> None:
        heapq.heappush(self._ready.setdefault(lane, []), place)
        self._stand(place.task_id, lane)

    def _stand(self, task_id: str, place: Lane | Aside) -> None:
        waiting = self._waiting[task_id]
        self._leave(waiting.place)
        waiting.place = place
        self.places[place] += 1

    def _leave(self, place: Lane | Aside) -> None:
        self.places[place] -= 1
        if not self.places[place]:
            del self.places[place]

    def _head(self, lane: Lane) -> Place | None:
        heap = self._ready.get(lane, [])
        while heap and not self._is_valid(heap[0]):
            heapq.heappop(heap)
        if not heap:
            self._ready.pop(lane, None)  # environments come and go
            return None
        return heap[0]

    def _forget(self, task_id: str) -> None:
        waiting = self._waiting.pop(task_id, None)
        if waiting:
            self._leave(waiting.place)
            if waiting.following:
                del waiting.following[task_id]
            for counter, amount in ((self.counts, 1), (self.sizes, waiting.size)):
                counter[waiting.tenant] -= amount
                if not counter[waiting.tenant]:
                    del counter[waiting.tenant]

    def _is_valid(self, place: Place) -> bool:
        waiting = self._waiting.get(place.task_id)
        return waiting is not None and waiting.ticket == place.ticket
