"""Looks at every way that one task can go, and makes sure that bugs which are put in on purpose are found.

    ./scripts/test tests/faults/test_protocol.py --deep

looks further, for about six minutes: two crashes with two attempts, three attempts with one crash. All of it at once,
three, two and two, is some millions of moments and an hour.
"""

from collections.abc import Callable
from typing import Any

import pytest
from explorer import Bounds, Broken, Explorer
from hundredfold_coordinator.core import running
from hundredfold_coordinator.core.state import attempt_id

SMALL = Bounds(attempts=2, crashes=1, expiries=1)
DEEP = (Bounds(attempts=2, crashes=2, expiries=2), Bounds(attempts=3, crashes=1, expiries=2))


@pytest.mark.timeout(7200)
def test_nothing_that_must_never_be_can_be(pytestconfig: pytest.Config) -> None:
    for bounds in DEEP if pytestconfig.getoption("--deep") else (SMALL,):
        explorer = Explorer(bounds)
        explorer.run()
        print(f"{bounds}: {explorer.nodes} different moments")
        assert explorer.nodes > 1000


def test_a_store_without_a_guard_is_found() -> None:
    with pytest.raises(Broken):
        Explorer(SMALL, guarded=False).run()


def test_effects_before_their_commit_are_found() -> None:
    with pytest.raises(Broken, match="launched before it is known"):
        Explorer(SMALL, commit_first=False).run()


def accept_anybody(state: Any, attempt: tuple[str, int]) -> Any:
    """Let any attempt of a running task deliver."""
    record = state.tasks.get(attempt[0])
    return record if record and record.task.state == 3 else None  # RUNNING


def accept_again(state: Any, attempt: tuple[str, int]) -> Any:
    """Let the newest attempt deliver as often as it likes."""
    record = state.tasks.get(attempt[0])
    return record if record and attempt_id(record) == attempt else None


@pytest.mark.parametrize("bug", [accept_anybody, accept_again])
def test_a_hole_in_the_fence_is_found(bug: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_current", bug)
    with pytest.raises(Exception, match=r"given up|IllegalTransition|SUCCEEDED"):
        Explorer(SMALL).run()
