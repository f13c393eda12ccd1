"""Shows that ids of tasks only go up, whatever the clock does."""

from unittest.mock import patch

from hundredfold_coordinator.task_ids import TaskIds
from ulid import ULID


def test_ids_go_up() -> None:
    ids = TaskIds()
    given = [ids.next() for _ in range(1000)]
    assert given == sorted(set(given))


def test_a_clock_that_was_set_back_counts_on() -> None:
    ids = TaskIds()
    before = ids.next()
    with patch("hundredfold_coordinator.task_ids.ULID", wraps=ULID) as clock:
        clock.return_value = ULID.from_timestamp(1.0)
        assert [ids.next(), ids.next()] == [str(ULID.from_int(int(ULID.from_str(before)) + n)) for n in (1, 2)]


def test_they_go_on_behind_the_newest_that_there_is() -> None:
    newest = str(ULID.from_timestamp(4_000_000_000.0))
    assert TaskIds(newest).next() > newest
