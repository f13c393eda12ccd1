"""Shows the legal ways between the states of a task, and that there are no others."""

from itertools import pairwise
from typing import TypeAlias

import pytest
from hundredfold.v1 import task_pb2
from hundredfold_coordinator.core import lifecycle
from hundredfold_coordinator.core.lifecycle import (
    CANCELLED,
    ENDED,
    EXPIRED,
    FAILED,
    LAUNCHING,
    QUEUED,
    RETRIABLE,
    RUNNING,
    SUCCEEDED,
    TRANSITIONS,
    IllegalTransition,
)

State: TypeAlias = task_pb2.TaskState.ValueType
STATES = [number for number in task_pb2.TaskState.values() if number != task_pb2.TASK_STATE_UNSPECIFIED]


def legal_paths(state: State, *, requeues: int) -> list[list[State]]:
    """Return every way from `state` to an end that comes back to the queue at most so often."""
    if state in ENDED:
        return [[state]]
    paths = []
    for after in sorted(TRANSITIONS[state]):
        left = requeues - (after == QUEUED)
        if left >= 0:
            paths += [[state, *path] for path in legal_paths(after, requeues=left)]
    return paths


@pytest.mark.parametrize(
    "path",
    [
        [QUEUED, LAUNCHING, RUNNING, SUCCEEDED],
        [QUEUED, LAUNCHING, RUNNING, FAILED],
        [QUEUED, LAUNCHING, RUNNING, CANCELLED],
        [QUEUED, CANCELLED],
        [QUEUED, LAUNCHING, CANCELLED],
        [QUEUED, LAUNCHING, FAILED],
        [QUEUED, EXPIRED],
        [QUEUED, LAUNCHING, RUNNING, EXPIRED, QUEUED, LAUNCHING, RUNNING, SUCCEEDED],
        [QUEUED, LAUNCHING, QUEUED, LAUNCHING, RUNNING, QUEUED, LAUNCHING, RUNNING, SUCCEEDED],
    ],
    ids=lambda path: "-".join(task_pb2.TaskState.Name(state).removeprefix("TASK_STATE_") for state in path),
)
def test_a_life_that_is_legal(path: list[State]) -> None:
    for before, after in pairwise(path):
        lifecycle.check(before, after)


def test_every_state_of_the_api_has_its_ways() -> None:
    assert sorted(TRANSITIONS) == sorted(STATES)


def test_a_result_is_the_last_word() -> None:
    for after in STATES:
        with pytest.raises(IllegalTransition):
            lifecycle.check(SUCCEEDED, after)


@pytest.mark.parametrize("state", sorted(RETRIABLE))
def test_from_any_other_end_only_a_retry_leads_back(state: State) -> None:
    assert TRANSITIONS[state] == {QUEUED}


def test_all_ends_but_a_result_can_be_retried() -> None:
    assert ENDED - {SUCCEEDED} == RETRIABLE


def test_every_state_is_an_end_or_leads_to_all_ends() -> None:
    for state in set(STATES) - ENDED:
        assert {path[-1] for path in legal_paths(state, requeues=1)} == ENDED


def test_nothing_succeeds_that_has_not_run() -> None:
    for path in legal_paths(QUEUED, requeues=2):
        assert path[-1] != SUCCEEDED or path[-2] == RUNNING


def test_nothing_runs_that_was_not_launched_or_handed_over_from_the_queue() -> None:
    for path in legal_paths(QUEUED, requeues=2):
        for before, after in pairwise(path):
            assert after != RUNNING or before in (QUEUED, LAUNCHING)


def test_no_state_follows_itself() -> None:
    for state in STATES:
        with pytest.raises(IllegalTransition):
            lifecycle.check(state, state)


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[QUEUED] = frozenset({SUCCEEDED})  # type: ignore[index]  # that is the point


def test_an_illegal_transition_names_both_states() -> None:
    with pytest.raises(IllegalTransition, match="TASK_STATE_SUCCEEDED -> TASK_STATE_RUNNING"):
        lifecycle.check(SUCCEEDED, RUNNING)
