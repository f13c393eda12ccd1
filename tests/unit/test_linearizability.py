"""Shows that the checker takes every history that one call after the other explains, and no other one."""

import random
from collections.abc import Sequence
from itertools import permutations

import pytest
from hundredfold.testing.linearizability import Call, Outcome, Put, Read, Swap, contradiction

DONE, REFUSED, UNKNOWN = Outcome.DONE, Outcome.REFUSED, Outcome.UNKNOWN
K = b"k"

GOOD: dict[str, list[Call]] = {
    "nothing": [],
    "nothing is there": [Read(K, 1, 2, DONE, None)],
    "one after the other": [Put(K, 1, 2, DONE, b"a"), Read(K, 3, 4, DONE, b"a"), Swap(K, 5, 6, DONE, b"a", b"b")],
    "a read beside a write sees the old": [Put(K, 1, 4, DONE, b"a"), Read(K, 2, 3, DONE, None)],
    "a read beside a write sees the new": [Put(K, 1, 4, DONE, b"a"), Read(K, 2, 3, DONE, b"a")],
    "two reads beside a write see both": [
        *(Put(K, 1, 9, DONE, b"a"), Read(K, 2, 3, DONE, None), Read(K, 4, 5, DONE, b"a"))
    ],
    "of two that swap, one is refused": [Swap(K, 1, 4, DONE, None, b"a"), Swap(K, 2, 3, REFUSED, None, b"b")],
    "the one that began later comes first": [
        *(Put(K, 1, 9, DONE, b"a"), Put(K, 2, 9, DONE, b"b"), Read(K, 10, 11, DONE, b"a"))
    ],
    "a deletion": [Put(K, 1, 2, DONE, b"a"), Swap(K, 3, 4, DONE, b"a", None), Read(K, 5, 6, DONE, None)],
    "keys have nothing to do with each other": [Put(K, 1, 2, DONE, b"a"), Read(b"other", 3, 4, DONE, None)],
    "what failed was done": [Put(K, 1, 2, UNKNOWN, b"a"), Read(K, 3, 4, DONE, b"a")],
    "what failed was not done": [Put(K, 1, 2, UNKNOWN, b"a"), Read(K, 3, 4, DONE, None)],
    "what failed is done later": [*(Put(K, 1, 2, UNKNOWN, b"a"), Read(K, 3, 4, DONE, None), Read(K, 5, 6, DONE, b"a"))],
    "a swap that failed was refused": [
        *(Put(K, 1, 2, DONE, b"a"), Swap(K, 3, 4, UNKNOWN, None, b"b"), Read(K, 5, 6, DONE, b"a"))
    ],
    "the answer of a read is lost": [Put(K, 1, 2, DONE, b"a"), Read(K, 3, 4, UNKNOWN)],
}

BAD: dict[str, list[Call]] = {
    "a read of what nobody wrote": [Read(K, 1, 2, DONE, b"a")],
    "a stale read": [Put(K, 1, 2, DONE, b"a"), Put(K, 3, 4, DONE, b"b"), Read(K, 5, 6, DONE, b"a")],
    "a stale read beside another write": [
        *(Put(K, 1, 2, DONE, b"a"), Put(K, 3, 4, DONE, b"b"), Put(K, 5, 9, DONE, b"c"), Read(K, 6, 7, DONE, b"a"))
    ],
    "a lost write": [Put(K, 1, 2, DONE, b"a"), Read(K, 3, 4, DONE, None)],
    "a lost update": [Swap(K, 1, 4, DONE, None, b"a"), Swap(K, 2, 3, DONE, None, b"b")],
    "a swap that was refused without a reason": [Put(K, 1, 2, DONE, b"a"), Swap(K, 3, 4, REFUSED, b"a", b"b")],
    "a swap that was refused and yet done": [Swap(K, 1, 2, REFUSED, b"x", b"b"), Read(K, 3, 4, DONE, b"b")],
    "back to the old after the new": [
        *(Put(K, 1, 9, DONE, b"a"), Read(K, 2, 3, DONE, b"a"), Read(K, 4, 5, DONE, None))
    ],
    "applied twice": [
        *(Put(K, 1, 2, DONE, b"a"), Put(K, 3, 4, DONE, b"b"), Read(K, 5, 6, DONE, b"b"), Read(K, 7, 8, DONE, b"a"))
    ],
    "what failed was applied twice": [
        *(Put(K, 1, 2, UNKNOWN, b"a"), Read(K, 3, 4, DONE, b"a"), Put(K, 5, 6, DONE, b"b")),
        *(Read(K, 7, 8, DONE, b"b"), Read(K, 9, 10, DONE, b"a")),
    ],
    "done before it began": [Read(K, 1, 2, DONE, b"a"), Put(K, 3, 4, DONE, b"a")],
}


@pytest.mark.parametrize("history", GOOD.values(), ids=GOOD)
def test_what_can_be_explained_is_taken(history: list[Call]) -> None:
    assert contradiction(history) == ""
    assert contradiction(history[::-1]) == "", "the order of the list must not matter"


@pytest.mark.parametrize("history", BAD.values(), ids=BAD)
def test_what_cannot_be_explained_is_named(history: list[Call]) -> None:
    assert "next is one of" in contradiction(history)
    assert "next is one of" in contradiction(history[::-1])


def test_it_judges_as_a_look_at_all_orders_does() -> None:
    source, judged = random.Random(1), {True: 0, False: 0}
    for _ in range(1500):
        history = any_history(source)
        explained = explained_by_some_order(history)
        judged[explained] += 1
        assert (contradiction(history) == "") is explained, history
    assert min(judged.values()) > 200


def test_many_callers_are_judged_in_time() -> None:
    source, history = random.Random(2), list[Call]()
    value: bytes | None = None
    for number in range(3000):  # each call is done at its number, and takes its time before and after
        began, ended = number - source.uniform(0, 4), number + source.uniform(0, 4)
        new = b"%d" % number
        match source.randrange(4):
            case 0:
                history.append(Read(K, began, ended, DONE, value))
            case 1:
                history.append(Swap(K, began, ended, REFUSED, b"never", new))
            case 2:
                history.append(Put(K, began, ended, DONE, new))
                value = new
            case _:
                history.append(Swap(K, began, ended, DONE, value, new))
                value = new
    assert contradiction(history) == ""
    assert contradiction([*history, Read(K, 5000, 5001, DONE, b"0")])


def any_history(source: random.Random) -> list[Call]:
    values = [None, b"a", b"b"]
    history: list[Call] = []
    for _ in range(source.randint(1, 5)):
        began = source.randint(0, 8)
        ended = began + source.randint(1, 5)
        kind, value, outcome = source.randrange(3), source.choice(values), source.choice([DONE, DONE, DONE, UNKNOWN])
        if kind == 0:
            history.append(Read(K, began, ended, outcome, value))
        elif kind == 1:
            history.append(Put(K, began, ended, outcome, value))
        else:
            swapped = source.choice([outcome, REFUSED])
            history.append(Swap(K, began, ended, swapped, source.choice(values), value))
    return history


def explained_by_some_order(history: Sequence[Call]) -> bool:
    unknown = [call for call in history if call.outcome is UNKNOWN]
    for bits in range(1 << len(unknown)):
        left_out = [call for number, call in enumerate(unknown) if bits >> number & 1]
        calls = [call for call in history if not any(call is one for one in left_out)]
        if any(explains(order) for order in permutations(calls)):
            return True
    return False


def explains(order: Sequence[Call]) -> bool:
    value: bytes | None = None
    latest = float("-inf")
    for call in order:
        if call.deadline < latest:  # another one that came before began after this one was over
            return False
        latest = max(latest, call.invoked)
        left = call.after(value)
        if left is None:
            return False
        (value,) = left
    return True
