"""The conformance kit for stores with several callers at once, as pytest tests that a backend inherits.

    class TestMyStoreAtOnce(ConcurrentStoreConformance):
        def open(self, directory: Path) -> Store:
            return MyStore(directory / "x.db")

A store that declares `shared` is opened several times, and all openers are used at once; another one is opened once.
Either way an opener is used by one thread at a time, as the contract has it.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from hundredfold.errors import Fenced, HundredfoldError
from hundredfold.stores.contract import ABSENT, ANY, Batch, Committed, Guard, Record, Store, Write
from hundredfold.testing.linearizability import Call, Outcome, Put, Read, Swap, contradiction
from hundredfold.testing.rules import same as _same
from hundredfold.testing.rules import true as _true

_OPENERS: Final = 4
_WRITERS: Final = 32
_ROUNDS: Final = 12
_KEYS: Final = [b"k/%d" % number for number in range(3)]
_GUARD: Final = b"guard"
_BEFORE: Final = 20
"""Commits of one holder of the guard before another one takes it."""


@dataclass(slots=True)
class Opener:
    """An open store, for one thread at a time."""

    store: Store
    lock: threading.Lock = field(default_factory=threading.Lock)


class ConcurrentStoreConformance:
    """Tests of one store. Subclass it at the top level of a test file, with a name that begins with `Test`."""

    def open(self, directory: Path) -> Store:
        """Open the store in `directory`, or make it. If it is shared, the same directory means the same store."""
        raise NotImplementedError

    @contextmanager
    def _opened(self, directory: Path, number: int) -> Iterator[list[Opener]]:
        """Open the store so many times, or hand out one opener so many times if it is not shared."""
        with ExitStack() as stack:
            openers = [Opener(stack.enter_context(closing(self.open(directory))))]
            while len(openers) < number:
                shared = openers[0].store.capabilities.shared
                openers.append(Opener(stack.enter_context(closing(self.open(directory)))) if shared else openers[0])
            yield openers

    def test_calls_can_be_put_in_one_order(self, tmp_path: Path) -> None:
        """32 callers read, write, delete, compare and set: one call after the other would have answered the same."""
        history: list[Call] = []
        with self._opened(tmp_path, _OPENERS) as openers:
            writers = [_Writer(openers[number % _OPENERS], number, history) for number in range(_WRITERS)]
            _at_once([writer.work for writer in writers])
        _true(len(history) >= _WRITERS * _ROUNDS, "all callers must have come to their end")
        _same(contradiction(history), "", "there must be an order of all calls that explains their answers")

    def test_no_update_is_lost(self, tmp_path: Path) -> None:
        """32 callers count up one number, each time until that succeeds: in the end it is as high as they counted."""
        with self._opened(tmp_path, _OPENERS) as openers:
            _at_once([partial(_count, openers[number % _OPENERS]) for number in range(_WRITERS)])
            (record,) = openers[0].store.get([b"number"])
        _same(record and record.value, b"%d" % (_WRITERS * 3), "every update that was committed must count")

    def test_one_of_two_takes_the_guard(self, tmp_path: Path) -> None:
        """Two callers want what only one can have: one is told that it has it, the other one that it has not."""
        with self._opened(tmp_path, 2) as openers:
            for number in range(20):
                key = b"guard/%d" % number
                results: list[bool] = []
                _at_once([partial(_compete, opener, key, results) for opener in openers])
                _same(sorted(results), [False, True], "exactly one of two that want an absent key must get it")

    def test_who_lost_the_guard_writes_nothing(self, tmp_path: Path) -> None:
        """One caller commits behind its guard until another one takes that: from then on it is fenced, wholly."""
        with self._opened(tmp_path, 2) as (old, new):
            version = _version(_commit(old, [Write(_GUARD, b"old", ABSENT)]))
            holder = _Holder(old, Guard(_GUARD, version))
            thread = threading.Thread(target=holder.work)
            thread.start()
            holder.is_busy.wait(60)
            _true(_take(new, _GUARD, version), "the guard can be taken by who knows its version")
            found = _numbers(new)
            thread.join()
            _same(_numbers(new) - found, set(), "nothing may be written behind a guard that another one has taken")
            _same(found, holder.committed, "what was fenced may not be there, and all that was committed must be")


class _Writer:
    """A caller who does all kinds of things to a few keys."""

    def __init__(self, opener: Opener, number: int, history: list[Call]) -> None:
        self._opener, self._number, self._history = opener, number, history
        self._random = random.Random(number)  # noqa: S311  # no secret
        self._known: dict[bytes, Record | None] = dict.fromkeys(_KEYS)
        self._count = 0

    def work(self) -> None:
        """Do them."""
        for _ in range(_ROUNDS):
            key = self._random.choice(_KEYS)
            if self._random.random() < 0.7:  # noqa: PLR2004  # mostly, so that what is known is not too old
                self._read(key)
            if self._random.random() < 0.2:  # noqa: PLR2004  # seldom, for these always succeed
                self._write(key, ANY)
            known = self._known[key]
            self._write(key, known.version if known else ABSENT)

    def _read(self, key: bytes) -> None:
        with self._opener.lock:
            began = time.monotonic()
            try:
                (self._known[key],) = self._opener.store.get([key])
            except HundredfoldError:
                return
            ended = time.monotonic()
        known = self._known[key]
        self._history.append(Read(key, began, ended, Outcome.DONE, known.value if known else None))

    def _write(self, key: bytes, expects: int) -> None:
        self._count += 1
        known = self._known[key]
        # A version that is gone can be told from no value, so only who knows a value deletes it.
        deletes = bool(known) and expects not in {ANY, ABSENT} and self._random.random() < 0.1  # noqa: PLR2004
        value = None if deletes else b"%d of %d" % (self._count, self._number)
        with self._opener.lock:
            began = time.monotonic()
            outcome = self._try(Write(key, value, expects))
            ended = time.monotonic()
        if expects == ANY:
            self._history.append(Put(key, began, ended, outcome, value))
        else:
            expected = known.value if known else None
            self._history.append(Swap(key, began, ended, outcome, expected, value))

    def _try(self, write: Write) -> Outcome:
        try:
            (result,) = self._opener.store.commit([Batch([write])])
        except HundredfoldError:
            return Outcome.UNKNOWN
        return Outcome.DONE if isinstance(result, Committed) else Outcome.REFUSED


class _Holder:
    """A caller who commits behind a guard until it is fenced.

    Attributes:
        committed: the numbers of the commits that were acknowledged.
        is_busy: set after some of them.

    """

    def __init__(self, opener: Opener, guard: Guard) -> None:
        self._opener, self._guard = opener, guard
        self.committed: set[int] = set()
        self.is_busy = threading.Event()

    def work(self) -> None:
        """Commit."""
        for number in range(100_000):
            try:
                _commit(self._opener, [Write(b"w/%d" % number, b"")], self._guard)
            except Fenced:
                break
            self.committed.add(number)
            if number == _BEFORE:
                self.is_busy.set()
        self.is_busy.set()


def _at_once(works: Sequence[Callable[[], None]]) -> None:
    """Do all of it at once, each in a thread; raise what any of them raises."""
    gate = threading.Barrier(len(works))
    errors: list[Exception] = []

    def run(work: Callable[[], None]) -> None:
        gate.wait()
        try:
            work()
        except Exception as error:  # noqa: BLE001  # raised below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        raise error


def _commit(opener: Opener, writes: Sequence[Write], guard: Guard | None = None) -> object:
    with opener.lock:
        (result,) = opener.store.commit([Batch(writes)], guard)
    return result


def _numbers(opener: Opener) -> set[int]:
    with opener.lock:
        return {int(entry.key[2:]) for entry in opener.store.scan(b"w/", limit=1_000_000)}


def _version(result: object) -> int:
    return result.version if isinstance(result, Committed) else 0


def _take(opener: Opener, key: bytes, version: int = ABSENT) -> bool:
    return isinstance(_commit(opener, [Write(key, b"mine", version)]), Committed)


def _compete(opener: Opener, key: bytes, results: list[bool]) -> None:
    results.append(_take(opener, key))


def _count(opener: Opener) -> None:
    """Count up three times."""
    done = 0
    while done < 3:  # noqa: PLR2004
        with opener.lock:
            (record,) = opener.store.get([b"number"])
        value = b"%d" % (int(record.value) + 1 if record else 1)
        write = Write(b"number", value, record.version if record else ABSENT)
        done += isinstance(_commit(opener, [write]), Committed)
