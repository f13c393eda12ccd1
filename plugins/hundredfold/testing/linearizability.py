"""Whether what several callers saw of a store can be explained by one call after the other.

The search is that of Wing and Gong, "Testing and Verifying Concurrent Objects" (1993): take one of the calls that may
have been the next, see whether the store would have answered so, go on, or come back. As in Lowe, "Testing for
Linearizability" (2017), no set of calls is looked at twice that leaves the same state. Keys are judged one by one, and
that is enough: Herlihy and Wing, "Linearizability" (1990).
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import TypeAlias


class Outcome(Enum):
    """What a caller was told."""

    DONE = "done"
    REFUSED = "refused"
    """The precondition did not hold, so nothing was written."""
    UNKNOWN = "unknown"
    """The call failed: it may have been done, or may yet be done, or never."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call and its answer.

    Attributes:
        key: what it was about.
        invoked: when it began; of the same clock for all callers.
        returned: when its answer was there; ignored if the outcome is unknown.

    """

    key: bytes
    invoked: float
    returned: float
    outcome: Outcome

    @property
    def deadline(self) -> float:
        """When it had been done at the latest."""
        return inf if self.outcome is Outcome.UNKNOWN else self.returned

    @property
    def changes(self) -> bool:
        """Whether it can have left another value."""
        return False

    def after(self, value: bytes | None) -> tuple[bytes | None] | None:
        """Return the value that it leaves where `value` was; None if it would not have been answered so."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Read(Call):
    """A read of `value`; None is no value."""

    value: bytes | None = None

    def after(self, value: bytes | None) -> tuple[bytes | None] | None:
        """See `Call.after`."""
        return (value,) if self.outcome is Outcome.UNKNOWN or value == self.value else None


@dataclass(frozen=True, slots=True)
class Put(Call):
    """A write of `value`, whatever was there; None deletes."""

    value: bytes | None = None

    @property
    def changes(self) -> bool:
        """See `Call.changes`."""
        return True

    def after(self, value: bytes | None) -> tuple[bytes | None] | None:  # noqa: ARG002  # whatever was there
        """See `Call.after`."""
        return (self.value,)


@dataclass(frozen=True, slots=True)
class Swap(Call):
    """A write of `value` where `expected` is; values are written once only, so that each stands for its version."""

    expected: bytes | None = None
    value: bytes | None = None

    @property
    def changes(self) -> bool:
        """See `Call.changes`."""
        return self.outcome is not Outcome.REFUSED

    def after(self, value: bytes | None) -> tuple[bytes | None] | None:
        """See `Call.after`."""
        if self.outcome is Outcome.UNKNOWN:
            return (self.value if value == self.expected else value,)
        if (value == self.expected) is (self.outcome is Outcome.REFUSED):
            return None
        return (self.value if self.outcome is Outcome.DONE else value,)


def contradiction(history: Iterable[Call]) -> str:
    """Return what cannot be explained in a history, of keys that had no value at first; empty if everything can."""
    keys: dict[bytes, list[Call]] = {}
    for call in history:
        keys.setdefault(call.key, []).append(call)
    problems = (_Search(calls).contradiction() for calls in keys.values())
    return next((problem for problem in problems if problem), "")


_Step: TypeAlias = tuple[int, bytes | None]
"""The calls so far, as bits, and the value that they have left."""


class _Search:
    """The search for an order of the calls of one key, depth first."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self._calls = sorted(calls, key=lambda call: call.invoked)
        written = Counter(call.value for call in self._calls if isinstance(call, Put | Swap))
        self._once = {value for value, times in written.items() if times == 1 and value is not None}
        self._readers: Counter[bytes | None] = Counter()
        self._swappers: Counter[bytes | None] = Counter()
        self._mentioned = {call.value for call in self._calls if isinstance(call, Read)}
        self._mentioned |= {call.expected for call in self._calls if isinstance(call, Swap)}
        for number, call in enumerate(self._calls):
            if call.outcome is Outcome.DONE and isinstance(call, Read):
                self._readers[call.value] += 1 << number
            if call.outcome is Outcome.DONE and isinstance(call, Swap):
                self._swappers[call.expected] += 1 << number

    def contradiction(self) -> str:
        """Return what cannot be explained; empty if there is an order."""
        known = sum(1 << number for number, call in enumerate(self._calls) if call.outcome is not Outcome.UNKNOWN)
        start: _Step = (0, None)
        pending, seen, best = [start], {start}, start
        while pending:
            step = pending.pop()
            if step[0] & known == known:
                return ""
            best = max(best, step, key=lambda one: one[0].bit_count())
            # What had to be done the soonest is tried first: it has come last onto the stack.
            for following in self._following(*step):
                if following not in seen:
                    seen.add(following)
                    pending.append(following)
        return self._report(*best)

    def _following(self, done: int, value: bytes | None) -> list[_Step]:
        """Return what can come next: at once a call that fits and changes nothing, for later it fits no better."""
        steps = []
        for number in sorted(self._useful(done, value), key=lambda one: self._calls[one].deadline, reverse=True):
            call = self._calls[number]
            left = call.after(value)
            if left is not None and not call.changes:
                return [(done | 1 << number, value)]
            if left is not None and (left[0] == value or self._may_go(done, value, number)):
                steps.append((done | 1 << number, left[0]))
        return steps

    def _useful(self, done: int, value: bytes | None) -> Iterator[int]:
        """Yield the calls that may have been the next, of unknown ones those that make a difference.

        To leave one out is the same as to have it do nothing, and of several writes that nobody saw any will do.
        """
        unseen = False
        for number in self._next(done):
            call = self._calls[number]
            if call.outcome is Outcome.UNKNOWN:
                if not call.changes or call.after(value) == (value,):
                    continue
                if isinstance(call, Put) and call.value not in self._mentioned:
                    if unseen:
                        continue
                    unseen = True
            yield number

    def _may_go(self, done: int, value: bytes | None, number: int) -> bool:
        """Return whether a call may end a value: one that never comes again must not be waited for by others."""
        if value not in self._once:
            return True
        waiting = (self._readers[value] | self._swappers[value]) & ~done
        return waiting in (0, 1 << number)

    def _next(self, done: int) -> Iterator[int]:
        """Yield the calls that may have been the next: no other one had returned before they began."""
        soonest = inf
        begin = (~done & (done + 1)).bit_length() - 1
        for number in range(begin, len(self._calls)):
            if done >> number & 1:
                continue
            if self._calls[number].invoked > soonest:
                return
            soonest = min(soonest, self._calls[number].deadline)
            yield number

    def _report(self, done: int, value: bytes | None) -> str:
        stuck = "\n  ".join(str(self._calls[number]) for number in self._next(done))
        return f"after {done.bit_count()} of {len(self._calls)} calls the value is {value!r}; next is one of\n  {stuck}"
