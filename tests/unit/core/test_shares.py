"""Shows whose turn it is."""

from collections import Counter

import pytest
from hundredfold_coordinator.core.shares import Shares


def served(shares: Shares, *tenants: str, times: int) -> list[str]:
    """Start one after the other, each of whoever's turn it is, and let it end at once."""
    order = []
    for _ in range(times):
        tenant = min(tenants, key=shares.turn)
        shares.start(tenant)
        shares.end(tenant)
        order.append(tenant)
    return order


def test_equals_take_turns() -> None:
    assert served(Shares(), "a", "b", times=4) == ["a", "b", "a", "b"]


def test_weights_are_shares() -> None:
    counts = Counter(served(Shares({"a": 3.0}), "a", "b", times=400))
    assert counts["a"] == pytest.approx(300, abs=3)


def test_who_has_fewer_alive_comes_first() -> None:
    shares = Shares({"b": 2.0})
    for _ in range(3):
        shares.start("a")
    started = []
    for _ in range(6):
        tenant = min("ab", key=shares.turn)
        shares.start(tenant)
        started.append(tenant)
    assert started == ["b"] * 6, "until it has twice as many"
    assert min("ab", key=shares.turn) == "a" or shares.alive["b"] == 6


def test_who_comes_back_has_no_claim_to_what_it_did_not_ask_for() -> None:
    shares = Shares()
    served(shares, "a", times=1000)
    assert Counter(served(shares, "a", "b", times=10)) == {"a": 5, "b": 5}


def test_nothing_is_kept_of_those_that_are_gone() -> None:
    shares = Shares()
    for number in range(1000):
        served(shares, f"t{number}", times=1)
    served(shares, "last", times=5)
    assert not shares.alive
    assert len(shares._served) <= 10


def test_who_has_had_more_than_others_is_not_forgotten() -> None:
    shares = Shares({"greedy": 0.1})
    for tenant in ("greedy", *map(str, range(20))):
        served(shares, tenant, times=1)
    served(shares, "last", times=5)
    assert shares.turn("greedy") > shares.turn("new")


def test_those_that_come_back_are_equals() -> None:
    shares = Shares()
    served(shares, "early", times=1)
    served(shares, "a", times=100)
    assert shares.turn("early") == shares.turn("never")
