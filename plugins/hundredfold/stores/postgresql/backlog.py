"""Embeddings that are written behind the commit of their records, a few at a time, on a connection of their own.

With a graph each costs milliseconds, and whoever writes them has the clock, which every commit waits for: a commit of a
thousand took seconds in which nothing else could be committed. What is not written when this ends is written by the
next start, as after a crash: see `Index.fill`.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from hundredfold.errors import HundredfoldError, IndexUnavailable, StoreFull, StoreUnreachable
from hundredfold.stores.postgresql.address import Address
from hundredfold.stores.postgresql.connection import Connection, Line
from hundredfold.stores.postgresql.schema import EMBEDDING
from hundredfold.stores.postgresql.server import greet_pgvector
from hundredfold.stores.postgresql.vector import Findings

PORTION: Final = 10
"""Embeddings written at a time: as long another commit may have to wait, some 50 ms with a graph."""

_MOST_BYTES: Final = 64 << 20
"""Vectors that may wait. Who brings more waits, too: nothing else bounds the memory they take."""

_AGAIN_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 60.0
"""How long a search waits for what was committed before it."""

_log: Final = logging.getLogger(__name__)


class Backlog:
    """What is to be written, and the thread that does it, which begins with the first of it.

    Args:
        address: where it is written.
        on_written: told of how many embeddings that has been done, in the thread.

    """

    def __init__(self, address: Address, on_written: Callable[[int], None]) -> None:
        self._on_written = on_written
        self._url = address.url
        self._line = Line(address, _greet)
        self._todo = threading.Condition()
        self._portions: deque[Findings] = deque()
        self._bytes = self._added = self._done = 0
        self._problem: HundredfoldError | None = None
        self._is_lost = self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="store-embeddings", daemon=True)

    def add(self, findings: Findings) -> None:
        """Have embeddings written, whose places are the versions of their records."""
        with self._todo:
            self._todo.wait_for(lambda: self._bytes <= _MOST_BYTES or self._problem or self._is_closed)
            if self._is_lost or self._is_closed:
                return
            portions = findings.portions(PORTION)
            self._portions.extend(portions)
            self._added += len(portions)
            self._bytes += findings.size_bytes
            self._todo.notify_all()
            if self._thread.ident is None:
                self._thread.start()

    def settle(self) -> None:
        """Wait until everything that was added before is written.

        Raises:
            StoreUnreachable: the server does not answer.
            IndexUnavailable: it cannot be written at present, or takes long.

        """
        with self._todo:
            wanted = self._added
            self._todo.wait_for(lambda: self._done >= wanted or self._problem or self._is_closed, _PATIENCE_SECONDS)
            if isinstance(self._problem, StoreUnreachable):
                raise StoreUnreachable(self._problem.url, self._problem.problem, self._problem.retry_seconds)
            if self._problem:
                raise IndexUnavailable(self._url, f"what was committed is not in their index: {self._problem}")
            if self._done < wanted and not self._is_closed:
                raise IndexUnavailable(self._url, f"{PORTION * (wanted - self._done)} are still on their way to it")

    def close(self) -> None:
        """End, after the portion that is being written. Idempotent."""
        with self._todo:
            self._is_closed = True
            self._todo.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout=5.0)

    def _work(self) -> None:
        while portion := self._next():
            try:
                self._line.ask(EMBEDDING, portion.embedding())
            except (StoreUnreachable, StoreFull) as error:
                self._fail(error)
            except HundredfoldError as error:
                self._lose(error)
            else:
                self._settle(portion)
        self._line.close()

    def _next(self) -> Findings | None:
        with self._todo:
            if self._problem:  # it is tried again after a while
                self._todo.wait_for(lambda: self._is_closed, _AGAIN_SECONDS)
            self._todo.wait_for(lambda: self._portions or self._is_closed)
            return None if self._is_closed else self._portions[0]

    def _settle(self, portion: Findings) -> None:
        self._on_written(len(portion.keys))
        with self._todo:
            self._portions.popleft()
            self._bytes -= portion.size_bytes
            self._done += 1
            self._problem = None
            self._todo.notify_all()

    def _fail(self, error: HundredfoldError) -> None:
        with self._todo:
            self._problem = error
            self._todo.notify_all()

    def _lose(self, error: HundredfoldError) -> None:
        _log.error("embeddings cannot be written before the next start, nor searches answered: %s", error)
        with self._todo:
            self._problem, self._is_lost, self._bytes = error, True, 0
            self._portions.clear()
            self._todo.notify_all()


def _greet(connection: Connection) -> None:
    greet_pgvector(connection)
