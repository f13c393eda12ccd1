"""Who is waiting for news: of a task's events, of the end of tasks, of an attempt's output."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from hundredfold.v1 import task_pb2

from hundredfold_coordinator.core.effects import Announce
from hundredfold_coordinator.core.state import AttemptId

_OUTPUT_LIMIT: Final = 256
_TAIL_BYTES: Final = 32 * 1024
_TAIL_PIECES: Final = 64


class Follow(Protocol):
    """Has the output of an attempt sent here, or not any more."""

    def __call__(self, attempt: AttemptId, *, on: bool) -> None:
        """Do so."""


class Mailbox:
    """What has come for one waiter and was not taken yet."""

    def __init__(self) -> None:
        self.ended: list[Announce] = []
        self.output: list[task_pb2.Event] = []
        self._news = asyncio.Event()

    def take(self, event: task_pb2.Event, *, dropped: int = 0) -> None:
        """Put in a piece of output, before which some was dropped; if there is too much already, it is lost, too."""
        if len(self.output) < _OUTPUT_LIMIT:
            own = task_pb2.Event()  # of its own: what this one loses is not told to another
            own.CopyFrom(event)
            own.output.dropped_bytes += dropped
            self.output.append(own)
        else:
            self.output[-1].output.dropped_bytes += len(event.output.data) + event.output.dropped_bytes + dropped
        self.notify()

    def notify(self) -> None:
        """Wake the waiter."""
        self._news.set()

    async def wait(self) -> None:
        """Wait until there is news."""
        await self._news.wait()
        self._news.clear()


class Hub:
    """Distributes news to mailboxes."""

    def __init__(self, follow: Follow) -> None:
        self._follow = follow
        self._watchers: dict[str, set[Mailbox]] = defaultdict(set)
        self._waiters: dict[str, set[Mailbox]] = defaultdict(set)
        self._followed: dict[AttemptId, _Followed] = {}

    @contextmanager
    def watching(self, task_id: str) -> Iterator[Mailbox]:
        """Yield a mailbox that is notified of every new event of a task."""
        with _registered(self._watchers, [task_id]) as mailbox:
            yield mailbox

    @contextmanager
    def waiting(self, task_ids: Iterable[str]) -> Iterator[Mailbox]:
        """Yield a mailbox that receives each of these tasks when it ends."""
        with _registered(self._waiters, list(task_ids)) as mailbox:
            yield mailbox

    def follow(self, attempt: AttemptId, mailbox: Mailbox) -> None:
        """Have an attempt's output put into a mailbox."""
        if attempt in self._followed:
            self._followed[attempt].join(mailbox)
        else:
            self._followed[attempt] = _Followed(mailbox)
            self._follow(attempt, on=True)  # the host begins with the end of what it has

    def unfollow(self, attempt: AttemptId, mailbox: Mailbox) -> None:
        """Stop that."""
        followed = self._followed.get(attempt)
        if followed:
            followed.mailboxes.discard(mailbox)
            if not followed.mailboxes:
                del self._followed[attempt]
                self._follow(attempt, on=False)

    def publish(self, task_id: str) -> None:
        """Notify the watchers of a task."""
        for mailbox in self._watchers.get(task_id, ()):
            mailbox.notify()

    def announce(self, news: Announce) -> None:
        """Give an ended task to everybody who waits for it."""
        for mailbox in self._waiters.get(news.task.id, ()):
            mailbox.ended.append(news)
            mailbox.notify()

    def output(self, attempt: AttemptId, output: task_pb2.Output) -> None:
        """Give a piece of output to those who follow; the slow ones lose it."""
        if attempt in self._followed:
            event = task_pb2.Event(attempt=attempt[1], output=output)
            event.time.GetCurrentTime()
            self._followed[attempt].put(event)


class _Followed:
    """An attempt whose output is followed: by whom, and the end of it for those who come later."""

    def __init__(self, first: Mailbox) -> None:
        self.mailboxes = {first}
        self._tail: deque[task_pb2.Event] = deque()
        self._size = 0
        self._dropped = 0

    def join(self, mailbox: Mailbox) -> None:
        """Give the tail to one more, and then what follows."""
        self.mailboxes.add(mailbox)
        for number, event in enumerate(self._tail):
            mailbox.take(event, dropped=0 if number else self._dropped)

    def put(self, event: task_pb2.Event) -> None:
        """Give a piece of output to everybody."""
        self._tail.append(event)
        self._size += len(event.output.data)
        while len(self._tail) > 1 and (self._size > _TAIL_BYTES or len(self._tail) > _TAIL_PIECES):
            lost = self._tail.popleft().output
            self._size -= len(lost.data)
            self._dropped += len(lost.data) + lost.dropped_bytes
        for mailbox in self.mailboxes:
            mailbox.take(event)


@contextmanager
def _registered(table: dict[str, set[Mailbox]], task_ids: list[str]) -> Iterator[Mailbox]:
    mailbox = Mailbox()
    for task_id in task_ids:
        table[task_id].add(mailbox)
    try:
        yield mailbox
    finally:
        for task_id in task_ids:
            table[task_id].discard(mailbox)
            if not table[task_id]:
                del table[task_id]
