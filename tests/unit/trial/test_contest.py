"""Shows who is run when in a contest, and with what; and which traces of others count."""

from collections import Counter

import pytest
from hundredfold import Injection, Submission
from hundredfold.v1 import payload_pb2, task_pb2
from hundredfold_coordinator.trial.contest import Contest, canary_in

STRATEGIES = ("fresh", "pool", "stateful")


def test_strategies_take_turns_and_each_is_first_once() -> None:
    order = list(Contest([], STRATEGIES, repeat=3).order())
    assert [strategy for strategy, _ in order] == [
        *("fresh", "pool", "stateful"),
        *("pool", "stateful", "fresh"),
        *("stateful", "fresh", "pool"),
    ]
    assert [repeat for _, repeat in order] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert set(Counter(Contest([], STRATEGIES, repeat=7).order()).values()) == {1}


def test_every_strategy_has_the_same_tasks_and_the_same_faults() -> None:
    contest = Contest([Submission("work", {"n": n}) for n in range(3)], STRATEGIES, 1, {1: Injection("slow", 2)})
    for strategy in STRATEGIES:
        wishes = list(contest.wishes(strategy))
        assert [wish.strategy for wish in wishes] == [strategy] * 3
        assert [wish.input for wish in wishes] == [{"n": 0}, {"n": 1}, {"n": 2}]
        canary = Injection(canary=True)
        assert [wish.injection for wish in wishes] == [canary, Injection("slow", 2, canary=True), canary]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'{"canary": "t2"}', "t2"),
        (b'{"canary": "coal mine"}', ""),
        (b'{"canary": ["t2"]}', ""),
        (b'{"canary": "t2", "more": 1}', ""),
        (b'"t2"', ""),
        (b"[]", ""),
        (b"\xff no JSON", ""),
    ],
)
def test_only_the_id_of_another_task_is_a_trace(data: bytes, found: str) -> None:
    event = task_pb2.Event(emitted=task_pb2.Emitted(payload=payload_pb2.Payload(data=data)))
    assert canary_in(event, {"t1", "t2"}) == found
