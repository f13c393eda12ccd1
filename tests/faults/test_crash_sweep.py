"""Kills the coordinator at every place around its commits and effects: nothing is lost, nothing recorded twice.

    ./scripts/test tests/faults/test_crash_sweep.py --points 0 --seed 7

tries all places; `--points` is how many, chosen by `--seed`. C1-C8 of the fault list, and C9: it dies again while it
takes up what the first crash has left.

See also: `test_crash_syscalls.py`, for the places within a commit.
"""

from pathlib import Path

import pytest
from world import build, play, play_until_death, settle, standard_books, sweep


def trace(directory: Path) -> list[str]:
    """Return every place that a whole run passes, in order."""
    directory.mkdir()
    path = directory / "trace"
    play(standard_books(directory), directory / "data", build("--trace", str(path)))
    return path.read_text().split()


@pytest.mark.timeout(7200)
def test_the_coordinator_may_die_at_any_place(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    number, seed = pytestconfig.getoption("--points"), pytestconfig.getoption("--seed")
    sweep(tmp_path, trace(tmp_path / "trace"), number, seed, lambda place: build("--crash", place))


@pytest.mark.parametrize(
    "place",
    [
        "commit-before:1",
        pytest.param("commit-after:1", marks=pytest.mark.soak),
        pytest.param("commit-after:2", marks=pytest.mark.soak),
        pytest.param("remind-after:1", marks=pytest.mark.soak),
    ],
)
def test_it_may_die_again_while_it_recovers(tmp_path: Path, place: str) -> None:
    books = standard_books(tmp_path)
    assert play_until_death(books, tmp_path / "data", build("--crash", "launch-after:2"))
    for _ in range(2):
        assert play_until_death(books, tmp_path / "data", build("--crash", place))
    play(books, tmp_path / "data", build())


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("submitted", "linger-0 was accepted twice"),
        ("cancelrequested", r"\['linger-0'.*\] have not ended"),
        pytest.param("retryrequested", "the further try of mend-0 was forgotten", marks=pytest.mark.soak),
        pytest.param("checkpointsaved", "a checkpoint of resume-0 was forgotten", marks=pytest.mark.soak),
    ],
)
def test_the_sweep_can_fail(tmp_path: Path, question: str, found: str) -> None:
    """An answer that leaves before the commit is a promise that a crash breaks, and the books show it."""
    books = standard_books(tmp_path)
    program = build("--off", "commit-first", "--crash", f"{question}-answered:1")
    assert play_until_death(books, tmp_path / "data", program)
    if question == "cancelrequested":
        books.patience_seconds = 2  # it is in vain
    with pytest.raises(AssertionError, match=found):
        settle(books, tmp_path / "data")
