"""Who is waiting for news: of a task's events, of the end of tasks, of an attempt's output."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from hundredfold.v1 import task_pb2

from hundredfold_coordinator.core.effects import Announce
from hundredfold_coordinator.core.state import AttemptId

_OUTPUT_LIMIT: Final = 256


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
        self._followers: dict[AttemptId, set[Mailbox]] = defaultdict(set)

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
        self._followers[attempt].add(mailbox)
        self._follow(attempt, on=True)

    def unfollow(self, attempt: AttemptId, mailbox: Mailbox) -> None:
        """Stop that."""
        followers = self._followers.get(attempt, set())
        followers.discard(mailbox)
        if not followers and self._followers.pop(attempt, None) is not None:
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
        event = task_pb2.Event(attempt=attempt[1], output=output)
        event.time.GetCurrentTime()
        for mailbox in self._followers.get(attempt, ()):
            if len(mailbox.output) < _OUTPUT_LIMIT:
                own = task_pb2.Event()  # of its own: what this one loses is not told to another
                own.CopyFrom(event)
                mailbox.output.append(own)
            else:
                mailbox.output[-1].output.dropped_bytes += len(output.data) + output.dropped_bytes
            mailbox.notify()


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
