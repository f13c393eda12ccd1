"""The queue: which task is next, by priority, then first come first served, one at a time per session."""

import heapq
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from itertools import count

Lane = tuple[str, int]
"""Where a task waits: its environment, and how often it has lost its host. Served or not as a whole."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A task's place in its lane. Task ids sort by the time of submission.

    A place whose ticket is not the task's own any more is void: the task was taken out while it waited.
    """

    rank: int
    task_id: str
    ticket: int


class Queue:
    """Waiting tasks, by lane and session."""

    def __init__(self) -> None:
        self._ready: dict[Lane, list[Place]] = {}
        self._lines: dict[str, deque[tuple[Lane, Place]]] = {}
        self._busy: dict[str, str] = {}
        self._waiting: dict[str, int] = {}
        self._tickets = count(1)

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._waiting

    @property
    def lanes(self) -> Collection[Lane]:
        """The lanes in which tasks are ready."""
        return self._ready.keys()

    def hold(self, task_id: str) -> None:
        """Note a task that waits and is not ready yet; `add` follows when it is."""
        self._waiting[task_id] = next(self._tickets)

    def add(self, task_id: str, lane: Lane, session: str, priority: int = 0) -> None:
        """Add a task. One that was given back to the queue keeps its session, and its place."""
        self.hold(task_id)
        self._put(lane, session, Place(-priority, task_id, self._waiting[task_id]))

    def pop(self, lanes: Collection[Lane]) -> str | None:
        """Take the first task that is ready in one of the lanes; None if there is none."""
        heads = {head: lane for lane in lanes if (head := self._head(lane))}
        if not heads:
            return None
        place = min(heads)
        heapq.heappop(self._ready[heads[place]])
        self._head(heads[place])
        del self._waiting[place.task_id]
        return place.task_id

    def remove(self, task_id: str, session: str) -> None:
        """Take a waiting task out, wherever it stands."""
        self._waiting.pop(task_id, None)
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
                self._put(lane, session, place)
                return
        self._lines.pop(session, None)

    def reserve(self, task_id: str, session: str) -> None:
        """Note that a task that is not ready has the session."""
        self._busy[session] = task_id

    def holder(self, session: str) -> str | None:
        """Return the task that has the session; None if none has."""
        return self._busy.get(session)

    def _put(self, lane: Lane, session: str, place: Place) -> None:
        task_id = place.task_id
        if session and self._busy.setdefault(session, task_id) != task_id:
            self._lines.setdefault(session, deque()).append((lane, place))
        else:
            heapq.heappush(self._ready.setdefault(lane, []), place)

    def _head(self, lane: Lane) -> Place | None:
        heap = self._ready.get(lane, [])
        while heap and not self._is_valid(heap[0]):
            heapq.heappop(heap)
        if not heap:
            self._ready.pop(lane, None)  # environments come and go
            return None
        return heap[0]

    def _is_valid(self, place: Place) -> bool:
        return self._waiting.get(place.task_id) == place.ticket
