"""A share of an index: a file of vectors, and the only thread that touches it. It does its jobs in their order.

So a search finds every change that was handed over before it, and nobody waits for a lock.
"""

import contextlib
import logging
import os
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, TypeAlias

import apsw

from hundredfold.stores.search import Embedding, Extract, Hit
from hundredfold.stores.sqlite_vectors import DAMAGE, VectorFile

_log: Final = logging.getLogger(__name__)

_MOST_BYTES: Final = 64 << 20
"""Values that may wait for the thread. Who brings more waits, too: nothing else bounds the memory they take."""

_NICENESS: Final = 10

_RUINED: Final = (apsw.NotADBError, apsw.CorruptError)

_MOST_CHANGES: Final = 256
"""Changes of one transaction, or a few more."""

Change: TypeAlias = tuple[bytes, bytes | None]
"""A key, and the value of its record now; None if that is gone."""


class CannotSearchError(Exception):
    """The file is of no use; the message says why."""


@dataclass(frozen=True, slots=True)
class _Changes:
    changes: Sequence[Change]
    version: int


@dataclass(frozen=True, slots=True)
class _Search:
    collection: str
    vector: bytes
    limit: int
    where: Mapping[str, str]
    found: Future[list[Hit]]


class Shard:
    """A file and its thread.

    Args:
        file: belongs to the shard from now on.
        token: what the file is marked with.
        extract: see `Searching.index`.

    """

    def __init__(self, file: VectorFile, token: bytes, extract: Extract) -> None:
        self._file = file
        self._token = token
        self._extract = extract
        self._todo = threading.Condition()
        self._jobs: deque[_Changes | _Search] = deque()
        self._late: list[_Changes] = []
        self._bytes = 0
        self._problem = ""
        self._is_open, self._is_lost = True, False
        self._thread = threading.Thread(target=self._work, name="vectors", daemon=True)
        self._thread.start()

    @property
    def is_lost(self) -> bool:
        """Whether the file is of no use any more, and goes when this is closed."""
        return self._is_lost

    @property
    def is_full(self) -> bool:
        """Whether who brings more has to wait."""
        return self._bytes > _MOST_BYTES

    @property
    def durable(self) -> int:
        """The version that is there after a loss of power, too."""
        return self._file.durable

    def change(self, changes: Sequence[Change], version: int) -> None:
        """Have records changed, soon; then the file is as far as `version`."""
        with self._todo:
            self._todo.wait_for(lambda: self._bytes <= _MOST_BYTES or self._problem or not self._is_open)
            if self._bytes > _MOST_BYTES:
                self._lose("what it lacks room for has become too much; it is made anew later")
            if self._is_open and not self._is_lost:
                self._jobs.append(_Changes(changes, version))
                self._bytes += _size(changes)
                self._todo.notify_all()

    def search(self, collection: str, vector: bytes, limit: int, where: Mapping[str, str]) -> Future[list[Hit]]:
        """Return what will be found, see `Searching.search`; cancelled if the shard is closed before."""
        search = _Search(collection, vector, limit, where, Future())
        with self._todo:
            if self._is_open:
                self._jobs.append(search)
                self._todo.notify_all()
            else:
                search.found.cancel()
        return search.found

    def close(self, *, quietly: bool = False) -> None:
        """End the thread, after what it is at, and close the file; `quietly` without writing anything. Idempotent."""
        with self._todo:
            self._is_open = False
            self._todo.notify_all()
        self._thread.join()
        for job in self._jobs:
            if isinstance(job, _Search):
                job.found.cancel()
        self._jobs.clear()
        if self._problem:  # what cannot be told from damage is taken for it
            self._file.discard()
        self._file.close(quietly=quietly)

    def _work(self) -> None:
        _stand_back()
        while self._is_open:
            search = self._take()
            self._apply()
            if search:
                self._answer(search)

    def _take(self) -> _Search | None:
        """Take over changes, and the search that comes behind them, if any does."""
        taken = 0
        with self._todo:
            self._todo.wait_for(lambda: self._jobs or not self._is_open)
            while self._jobs and taken < _MOST_CHANGES:
                job = self._jobs.popleft()
                if isinstance(job, _Search):
                    return job
                self._late.append(job)
                taken += len(job.changes)
        return None

    def _apply(self) -> None:
        if self._is_lost or not self._late:
            return
        problem = ""
        try:
            changes = ((key, self._look(key, value)) for job in self._late for key, value in job.changes)
            self._file.apply(changes, self._late[-1].version, self._token)
        except _RUINED as error:
            self._give_up(error)
            return
        except (apsw.Error, OSError) as error:  # a want of room can have any name, see sqlite-vec
            problem = f"{type(error).__name__}: {error}; look whether its disk is full"
        except Exception as error:  # noqa: BLE001  # without this thread nobody would be answered any more
            self._give_up(error)
            return
        self._settle(problem)

    def _settle(self, problem: str) -> None:
        if problem and not self._problem:
            _log.warning("the index of vectors falls behind: %s", problem)
        with self._todo:
            if not self._is_lost:
                self._problem = problem
            if not self._problem:
                self._bytes -= sum(_size(job.changes) for job in self._late)
                self._late.clear()
            self._todo.notify_all()

    def _look(self, key: bytes, value: bytes | None) -> Embedding | None:
        try:
            return None if value is None else self._extract(value)
        except Exception:  # noqa: BLE001  # one record must not cost all others their index
            _log.exception("record %r cannot be searched for", key)
            return None

    def _answer(self, search: _Search) -> None:
        if self._problem:
            search.found.set_exception(CannotSearchError(self._problem))
            return
        try:
            hits = self._file.nearest(search.collection, search.vector, search.limit, search.where)
        except DAMAGE as error:
            self._give_up(error)
            search.found.set_exception(CannotSearchError(self._problem))
        except Exception as error:  # noqa: BLE001  # it belongs to whoever searches
            search.found.set_exception(error)
        else:
            search.found.set_result(hits)

    def _give_up(self, error: Exception) -> None:
        with self._todo:
            self._lose(f"{type(error).__name__}: {error}; it is made anew later")
            self._todo.notify_all()

    def _lose(self, problem: str) -> None:
        _log.error("the index of vectors is lost: %s", problem)
        self._problem, self._is_lost, self._bytes = problem, True, 0
        self._late = []  # another one, for the thread may be at that


def _stand_back() -> None:
    """Have this thread leave the CPUs to commits, and to the loop, while all of them are busy."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def _size(changes: Sequence[Change]) -> int:
    return sum(len(key) + len(value or b"") for key, value in changes)
