"""Kills the coordinator at every place around its commits and effects: nothing is lost, nothing recorded twice.

    ./scripts/test tests/faults/test_crash_sweep.py --points 0 --seed 7

tries all places; `--points` is how many, chosen by `--seed`. C1-C8 of the fault list, and C9: it dies again while it
takes up what the first crash has left.
"""

import random
from pathlib import Path

import pytest
from hundredfold.errors import UnknownTask
from world import build, play, play_until_death, standard_books


def trace(tmp_path: Path) -> list[str]:
    """Return every place that a whole run passes, in order."""
    path = tmp_path / "trace"
    play(standard_books(tmp_path), tmp_path / "data", build("--trace", str(path)))
    return path.read_text().split()


@pytest.mark.timeout(3600)
def test_the_coordinator_may_die_at_any_place(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    seed, number = pytestconfig.getoption("--seed"), pytestconfig.getoption("--points")
    (tmp_path / "trace").mkdir()
    places = trace(tmp_path / "trace")
    chosen = random.Random(seed).sample(places, min(number or len(places), len(places)))
    print(f"{len(chosen)} of {len(places)} places; repeat with --points {number} --seed {seed}")
    died = 0
    for place in chosen:
        directory = tmp_path / place
        directory.mkdir()
        print(place)
        died += play(standard_books(directory), directory / "data", build("--crash", place))
    # Which places a run passes depends on what shares a commit, so not all of them are met again.
    assert died >= len(chosen) * 0.7, f"only {died} of {len(chosen)} have died"


@pytest.mark.parametrize("place", ["commit-before:1", "commit-after:1", "commit-after:2", "remind-after:1"])
def test_it_may_die_again_while_it_recovers(tmp_path: Path, place: str) -> None:
    books = standard_books(tmp_path)
    assert play_until_death(books, tmp_path / "data", build("--crash", "launch-after:2"))
    for _ in range(2):
        assert play_until_death(books, tmp_path / "data", build("--crash", place))
    play(books, tmp_path / "data", build())


def test_the_sweep_can_fail(tmp_path: Path) -> None:
    """An answer that leaves before the commit is a promise that a crash breaks, and the books show it."""
    for number in range(4, 20):  # until one answer was early enough to arrive
        directory = tmp_path / str(number)
        directory.mkdir()
        books = standard_books(directory)
        place = f"commit-before:{number}"
        assert play_until_death(books, directory / "data", build("--off", "commit-first", "--crash", place))
        if books.promised:
            break
    with pytest.raises((AssertionError, UnknownTask)):
        play(books, directory / "data", build())
