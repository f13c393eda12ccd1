"""Shows when attempts are evicted, and which."""

from dataclasses import replace

from hundredfold.v1 import coordinator_service_pb2 as pb
from hundredfold_host.eviction import Candidate, choose, growth_ahead, sentence, shortage_bytes

MIB = 1 << 20


def machine(free: int, growth: int = 0) -> pb.Machine:
    return pb.Machine(
        memory_free_bytes=free * MIB,
        headroom_bytes=100 * MIB,
        memory_growth_bytes=growth * MIB,
        memory_total_bytes=1 << 40,
    )


def candidate(name: str, used: int, reserved: int = 1000, priority: int = 0, born: int = 0) -> Candidate:
    return Candidate((name, 1), used * MIB, reserved * MIB, priority, born)


def chosen(needed: int, *candidates: Candidate) -> list[str]:
    return [one.key[0] for one in choose(candidates, needed * MIB)]


def test_it_begins_below_half_of_the_reserve_and_ends_with_the_whole_of_it() -> None:
    assert shortage_bytes(machine(500), 0, 0) == 0
    assert shortage_bytes(machine(60), 0, 0) == 0, "or it would flap"
    assert shortage_bytes(machine(40), 0, 0) == 60 * MIB


def test_it_looks_ahead_as_far_as_it_takes_to_react() -> None:
    assert shortage_bytes(machine(140), 0, 100 * MIB) == 60 * MIB
    assert shortage_bytes(machine(160), 0, 100 * MIB) == 0


def test_nobody_grows_beyond_what_was_promised_as_long_as_all_keep_to_it() -> None:
    growing = machine(500, growth=1000)
    assert growth_ahead(growing, [candidate("a", 900, 1000), candidate("b", 950, 1000)]) == 150 * MIB
    assert growth_ahead(growing, [candidate("a", 0, 1000)]) == 500 * MIB
    assert growth_ahead(growing, [candidate("a", 900, 1000), candidate("b", 100, 64)]) == 500 * MIB


def test_a_little_more_than_was_promised_is_no_breach() -> None:
    growing = machine(500, growth=1000)
    assert growth_ahead(growing, [candidate("a", 1100, 1000), candidate("b", 900, 1000)]) == 100 * MIB


def test_those_that_are_dying_already_count() -> None:
    assert shortage_bytes(machine(10), 200 * MIB, 0) == 0
    assert shortage_bytes(machine(10), 20 * MIB, 0) == 70 * MIB


def test_who_would_not_be_tried_again_is_spared_if_it_keeps_to_its_reservation() -> None:
    assert chosen(10, replace(candidate("last", 50), retriable=False), candidate("other", 50)) == ["other"]
    assert chosen(10, replace(candidate("last", 50), retriable=False)) == []
    assert chosen(60, replace(candidate("last", 50), retriable=False), candidate("other", 50)) == ["other"]
    assert chosen(10, replace(candidate("leak", 500, 64), retriable=False), candidate("other", 50)) == ["leak"]


def test_when_nobody_else_is_left_and_memory_is_short_already_nobody_is_spared() -> None:
    """Or the kernel chooses: seen with one that leaks, for the last time, with all of the memory set aside for it."""
    last, other = replace(candidate("last", 50), retriable=False), candidate("other", 50)
    both = [one.key[0] for one in choose([last, other], 60 * MIB, 60 * MIB)]
    assert both == ["other", "last"]
    assert [one.key[0] for one in choose([last, other], 60 * MIB, 40 * MIB)] == ["other"]


def test_as_many_as_it_takes_and_no_more() -> None:
    three = [candidate(name, 50) for name in "abc"]
    assert chosen(0, *three) == []
    assert len(chosen(50, *three)) == 1
    assert len(chosen(51, *three)) == 2
    assert len(chosen(1000, *three)) == 3


def test_who_uses_more_than_was_set_aside_goes_first() -> None:
    assert chosen(1, candidate("within", 500, 600, -100, 9), candidate("over", 150, 49, 100, 1)) == ["over"]


def test_of_those_who_can_be_tried_again_goes_before_who_cannot() -> None:
    last = replace(candidate("last", 500, 64, -100, 9), retriable=False)
    assert chosen(1, last, candidate("other", 500, 64)) == ["other"]


def test_then_who_matters_least_then_who_has_lost_least() -> None:
    old, young = candidate("old", 10, born=1), candidate("young", 10, born=2)
    low = candidate("low", 10, priority=-1)
    assert chosen(25, old, young, low) == ["low", "young", "old"]


def test_a_person_is_told_the_figures() -> None:
    told = sentence(machine(40, growth=700), candidate("a", 300, 64))
    assert told == (
        "40 MiB were free on the machine, 100 MiB are kept in reserve, and 700 MiB more were used every second; it "
        "used 300 MiB, with 64 MiB set aside for it"
    )
    limited = machine(40)
    limited.memory_limit_bytes = 4096 * MIB
    assert sentence(limited, candidate("a", 1)).startswith("40 MiB were free of 4096 in its cgroup,")


def test_what_fewer_neighbours_share_with_it_is_not_held_against_an_attempt() -> None:
    """Alone, it has all for its own that it touches of its zygote's memory; what it needs was learned in a crowd."""
    alone = candidate("alone", 30, 3)
    assert not alone.over
    assert chosen(10, alone, candidate("leak", 300, 200)) == ["leak"]
    assert candidate("leak", 36, 3).over
