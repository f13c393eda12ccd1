"""The queue: which task is next, first come first served, one at a time per session."""

import heapq
from collections import deque
from collections.abc import Collection


class Queue:
    """Waiting tasks, by environment and session. Task ids sort by the time of submission."""

    def __init__(self) -> None:
        self._ready: dict[str, list[str]] = {}
        self._lines: dict[str, deque[tuple[str, str]]] = {}
        self._busy: dict[str, str] = {}
        self._waiting: set[str] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._waiting

    def add(self, task_id: str, environment: str, session: str) -> None:
        """Add a task. One that was given back to the queue keeps its session, and its place."""
        self._waiting.add(task_id)
        if session and self._busy.setdefault(session, task_id) != task_id:
            self._lines.setdefault(session, deque()).append((task_id, environment))
        else:
            heapq.heappush(self._ready.setdefault(environment, []), task_id)

    def pop(self, environments: Collection[str]) -> str | None:
        """Take the oldest task that is ready and belongs to one of the environments; None if there is none."""
        heads = [(head, name) for name in environments if (head := self._head(name))]
        if not heads:
            return None
        task_id, name = min(heads)
        heapq.heappop(self._ready[name])
        self._waiting.discard(task_id)
        return task_id

    def remove(self, task_id: str, session: str) -> None:
        """Take a waiting task out, wherever it stands."""
        self._waiting.discard(task_id)
        self.release(task_id, session)

    def release(self, task_id: str, session: str) -> None:
        """Let the next task of a session come, if `task_id` was the one in front."""
        if not session or self._busy.get(session) != task_id:
            return
        del self._busy[session]
        line = self._lines.get(session, deque())
        while line:
            successor, environment = line.popleft()
            if successor in self._waiting:
                self.add(successor, environment, session)
                return
        self._lines.pop(session, None)

    def reserve(self, task_id: str, session: str) -> None:
        """Note that a task that does not wait has the session."""
        self._busy[session] = task_id

    def holder(self, session: str) -> str | None:
        """Return the task that has the session; None if none has."""
        return self._busy.get(session)

    def _head(self, environment: str) -> str | None:
        heap = self._ready.get(environment, [])
        while heap and heap[0] not in self._waiting:
            heapq.heappop(heap)  # it was removed while it waited
        return heap[0] if heap else None
