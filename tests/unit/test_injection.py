"""Shows fault injection before anything runs: what a person may write, and which tasks it chooses."""

from collections import Counter

import pytest
from hundredfold import Injection
from hundredfold.errors import InvalidArgument
from hundredfold.injection import FAULTS, Share, choose, parse_shares
from hundredfold.v1 import task_pb2


def chosen(text: str, count: int, seed: int = 0) -> dict[int, str]:
    return {number: injection.fault for number, injection in choose(parse_shares(text), count, seed).items()}


# What a person writes -------------------------------------------------------------------------------------------------


def test_shares_are_read_with_their_seconds() -> None:
    assert parse_shares(" crash=0.05, slow=0.1:3 ,hang=1e-2:0.5,") == [
        Share(Injection("crash"), 0.05),
        Share(Injection("slow", 3), 0.1),
        Share(Injection("hang", 0.5), 0.01),
    ]
    assert parse_shares("") == parse_shares(" , ") == []


@pytest.mark.parametrize(
    "part",
    [
        "crash",
        "crash=",
        "crash=many",
        "=0.5",
        "0.5",
        "crush=0.5",
        "crash=0.5:",
        "crash=0.5:soon",
        "slow=0.5:-1",
        "slow=0.5:nan",
        "slow=0.5:1e20",
    ],
)
def test_a_part_that_is_none_is_named_with_what_it_must_look_like(part: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_shares(f"leak=0.1,{part}")
    assert caught.value.field == "inject"
    assert f"has {part!r}, which must look like FAULT=SHARE" in str(caught.value)
    assert "leak=0.1" not in str(caught.value)


@pytest.mark.parametrize("share", ["-0.1", "1.1", "nan", "inf"])
def test_a_share_is_from_zero_to_one(share: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"has 'crash={share}', and a share is from 0 to 1"):
        parse_shares(f"crash={share}")


def test_there_are_not_more_faults_than_tasks() -> None:
    with pytest.raises(InvalidArgument, match="more than there are tasks"):
        parse_shares("crash=0.6,hang=0.5")
    with pytest.raises(InvalidArgument, match="the same fault twice"):
        parse_shares("crash=0.1,crash=0.1")


def test_all_tasks_may_have_a_fault_whatever_their_shares_come_to_in_binary() -> None:
    assert 0.34 + 0.28 + 0.27 + 0.11 > 1
    assert len(chosen("crash=0.34,hang=0.28,slow=0.27,leak=0.11", 100)) == 100


def test_an_injection_that_is_none_is_refused_where_it_is_written() -> None:
    with pytest.raises(InvalidArgument, match="`fault` is 'crush'"):
        Injection("crush")
    with pytest.raises(InvalidArgument, match="`seconds` is -1"):
        Injection("slow", -1)


@pytest.mark.parametrize("fault", FAULTS)
def test_an_injection_travels(fault: str) -> None:
    message = Injection(fault, 1.5, canary=True).message()
    assert (task_pb2.Fault.Name(message.fault), message.canary) == (f"FAULT_{fault.upper()}", True)
    assert message.time.ToMilliseconds() == 1500
    assert Injection(canary=True).message() == task_pb2.Injection(canary=True)


# Which tasks ----------------------------------------------------------------------------------------------------------


def test_of_each_fault_there_are_as_many_as_its_share_says() -> None:
    assert Counter(chosen("crash=0.05,hang=0.02,timeout=0.05,slow=0.1,leak=0.01", 100, seed=7).values()) == {
        "crash": 5,
        "hang": 2,
        "timeout": 5,
        "slow": 10,
        "leak": 1,
    }


@pytest.mark.parametrize(
    ("share", "count", "wanted"), [(0.05, 10, 1), (0.05, 50, 3), (0.04, 10, 0), (1, 3, 3), (0, 9, 0)]
)
def test_a_half_is_rounded_up(share: float, count: int, wanted: int) -> None:
    assert len(chosen(f"crash={share}", count)) == wanted


def test_rounding_wants_no_more_than_there_are() -> None:
    assert Counter(chosen("crash=0.5,hang=0.5", 3).values()) == {"crash": 2, "hang": 1}


def test_the_same_seed_chooses_the_same_tasks_and_another_one_others() -> None:
    text = "crash=0.1,hang=0.1"
    assert chosen(text, 100, seed=7) == chosen(text, 100, seed=7)
    assert chosen(text, 100, seed=7) != chosen(text, 100, seed=8)


def test_another_fault_behind_the_first_leaves_that_where_it_was() -> None:
    alone, both = chosen("crash=0.1", 100), chosen("crash=0.1,hang=0.2", 100)
    assert alone == {number: fault for number, fault in both.items() if fault == "crash"}


def test_every_task_can_be_chosen_and_has_one_fault_at_most() -> None:
    found = set()
    for seed in range(50):
        numbers = chosen("crash=0.3,hang=0.3", 10, seed)
        assert len(numbers) == 6
        assert set(numbers) <= set(range(10))
        found |= numbers.keys()
    assert found == set(range(10))


def test_of_no_tasks_none_is_chosen() -> None:
    assert chosen("crash=0.5", 0) == {}
