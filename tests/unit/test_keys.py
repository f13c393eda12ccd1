"""Shows that keys sort as what they stand for, and that no name can be chosen so that two things share a key."""

from itertools import pairwise

from hundredfold.stores.contract import end_of_prefix
from hundredfold_coordinator import keys
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
"""Names of sessions: any character but the zero byte, which the coordinator refuses."""

NUMBERS = st.integers(0, 2**64 - 1)

TASK_IDS = st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", min_size=26, max_size=26)


unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A loaded machine is no finding."""


def is_below(key: bytes, prefix: bytes) -> bool:
    """Tell whether a scan of `prefix` finds `key`."""
    return prefix <= key < end_of_prefix(prefix)


def test_every_kind_of_thing_has_a_place_of_its_own() -> None:
    places = [
        keys.LEASE,
        keys.VERSION,
        keys.live("x"),
        keys.task("x"),
        keys.input_of("x"),
        keys.result_of("x"),
        keys.checkpoint_of("x"),
        keys.events_of("x"),
        keys.request("x"),
        keys.session("x"),
        keys.items_of("x", 0),
        keys.vector("x", 0, "r"),
        keys.deletion_of_items("x"),
        keys.drop("x"),
        keys.host("x"),
        keys.environment("x"),
    ]
    kinds = [key.partition(b"/")[0] for key in places]
    assert len(set(kinds)) == len(kinds)
    assert not any(one.startswith(other) for one in places for other in places if one != other)


@unhurried
@given(TASK_IDS, TASK_IDS)
def test_tasks_sort_as_their_ids(one: str, other: str) -> None:
    assert (keys.task(one) < keys.task(other)) == (one < other)
    assert (keys.live(one) < keys.live(other)) == (one < other)
    assert is_below(keys.task(one), keys.TASK)
    assert is_below(keys.live(one), keys.LIVE)


@unhurried
@given(TASK_IDS, NUMBERS, NUMBERS)
@example("0" * 26, 255, 256)
@example("0" * 26, 9, 10)
def test_events_sort_as_their_sequence(task_id: str, one: int, other: int) -> None:
    assert (keys.event(task_id, one) < keys.event(task_id, other)) == (one < other)


@unhurried
@given(NAMES, NUMBERS, NUMBERS)
@example("s", 255, 256)
def test_items_sort_as_their_number(session: str, one: int, other: int) -> None:
    assert (keys.item(session, 0, one) < keys.item(session, 0, other)) == (one < other)
    assert (keys.items_of(session, one) < keys.items_of(session, other)) == (one < other)


@unhurried
@given(TASK_IDS, TASK_IDS, NUMBERS)
def test_a_scan_of_events_finds_those_of_its_task_only(one: str, other: str, number: int) -> None:
    assert is_below(keys.event(one, number), keys.events_of(one))
    assert is_below(keys.event(other, number), keys.events_of(one)) == (one == other)


@unhurried
@given(NAMES, NAMES, NUMBERS)
@example("a", "a/b", 1)
@example("a", "a/", 0)
@example("a", "ab", 2**64 - 1)
@example("", "a", 0x2F << 56)
@example("a", "a\x01", 1)
@example("a", "a\U0010ffff", 1)
def test_a_scan_of_items_finds_those_of_its_session_only(one: str, other: str, number: int) -> None:
    assert is_below(keys.item(one, 7, number), keys.items_of(one, 7))
    assert not is_below(keys.item(one, 8, number), keys.items_of(one, 7))
    assert is_below(keys.item(other, 7, number), keys.items_of(one, 7)) == (one == other)


@unhurried
@given(st.lists(st.tuples(NAMES, NUMBERS, NUMBERS), unique=True))
def test_no_two_items_share_a_key(items: list[tuple[str, int, int]]) -> None:
    assert len({keys.item(*item) for item in items}) == len(items)


@unhurried
@given(NAMES, NUMBERS, NUMBERS, NAMES.filter(bool))
def test_a_key_says_what_it_is_of(name: str, generation: int, number: int, record: str) -> None:
    assert keys.place(keys.item(name, generation, number)) == keys.Place("item", name, generation, number)
    assert keys.place(keys.vector(name, generation, record)) == keys.Place("vector", name, generation, record=record)
    assert keys.place(keys.deletion_of_items(name)) == keys.Place("deletion", f"item/{name}")


@unhurried
@given(NAMES, NAMES, NUMBERS, st.integers(0, 2**64 - 2))
@example("a", "a/b", 1, 1)
@example("a", "a", 2, 1)
def test_a_deletion_is_of_its_name_and_of_no_later_generation(one: str, other: str, number: int, last: int) -> None:
    prefix, end = keys.deleted_range(keys.deletion_of_items(one), last)
    key = keys.item(other, number, 5)
    assert (is_below(key, prefix) and key < end) == (one == other and number <= last)
    prefix, end = keys.deleted_range(keys.deletion_of_vectors(one), last)
    key = keys.vector(other, number, "r")
    assert (is_below(key, prefix) and key < end) == (one == other and number <= last)


@unhurried
@given(NAMES, NAMES)
@example("a", "a/b")
@example("a", "A")
def test_no_two_names_share_a_key(one: str, other: str) -> None:
    for key in (keys.session, keys.request, keys.host, keys.environment):
        assert (key(one) == key(other)) == (one == other)


def test_the_largest_numbers_still_sort() -> None:
    numbers = [0, 1, 255, 256, 2**32, 2**63, 2**64 - 1]
    assert all(before < after for before, after in pairwise(keys.event("t", number) for number in numbers))
