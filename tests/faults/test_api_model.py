"""Plays at random with the real API, killing coordinator and agents, and compares it with a model after every step.

    ./scripts/test tests/faults/test_api_model.py --runs 100 --seed 7

plays a hundred games, others than usual; each has thirty moves.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from api_model import CONCURRENCY, KINDS, Expected, Place, check_history, chosen, kill_agent, submit
from hundredfold import SyncClient
from hundredfold.errors import HundredfoldError, RequestIdReused, TaskHasResult, TaskNotEnded, UnknownTask
from hundredfold.testing.coordinator import eventually
from hundredfold.v1 import attempt_pb2, task_pb2
from hundredfold_coordinator.core import lifecycle
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from world import build

STATES = sorted(set(task_pb2.TaskState.values()) - {task_pb2.TASK_STATE_UNSPECIFIED})
MOVES = (
    *("submit", "submit", "submit", "submit", "submit_again", "submit_what_was_deleted"),
    *("look_up", "look_up", "ask_for_unknown", "crash", "crash"),
    *("release", "release", "delete", "delete", "kill", "kill", "kill"),
    *("cancel", "cancel", "cancel", "retry", "retry", "retry", "retry"),
)
END_SECONDS = 60
Victim = tuple[Expected, attempt_pb2.Attempt]


class ApiMachine(RuleBasedStateMachine):
    """The moves. None has a precondition: what there is depends on time, and Hypothesis wants to know beforehand."""

    place: ClassVar[Place]

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[Expected] = []
        self.deleted: list[Expected] = []

    @property
    def client(self) -> SyncClient:
        return self.place.client()

    @initialize(kinds=st.lists(st.integers(0, 3), min_size=2, max_size=5))
    def begin(self, kinds: Sequence[int]) -> None:
        for kind in kinds:
            self.submit(kind)

    @rule(what=st.sampled_from(MOVES), which=st.integers(0, 8))
    def move(self, what: str, which: int) -> None:
        """Make one of the moves. They are no rules, of which Hypothesis leaves out half in every game."""
        getattr(self, what)(which)

    # Submitting -------------------------------------------------------------------------------------------------------

    def submit(self, which: int) -> None:
        self.acknowledge(self.place.wishes.make(KINDS[which % len(KINDS)]))

    def acknowledge(self, expected: Expected) -> None:
        """Submit a wish; the answer makes it a promise."""
        task = submit(self.client, expected.wish)
        assert task.id not in {one.task_id for one in (*self.tasks, *self.deleted)}
        expected.task_id = task.id
        expected.see(task)
        self.tasks.append(expected)

    def submit_again(self, which: int) -> None:
        expected = chosen(self.tasks, which)
        if expected is None:
            return
        self.repeat(expected)
        with pytest.raises(RequestIdReused) as caught:
            submit(self.client, replace(expected.wish, priority=1))
        assert caught.value.task_id == expected.task_id

    def repeat(self, expected: Expected) -> None:
        """Say again what was acknowledged: it makes no other task."""
        task = submit(self.client, expected.wish)
        assert task.id == expected.task_id, f"accepted twice: {expected}"
        expected.see(task)

    def submit_what_was_deleted(self, which: int) -> None:
        used = {one.wish.request_id for one in self.tasks}
        old = chosen((one for one in self.deleted if one.wish.request_id not in used), which)
        if old:
            fresh = self.place.wishes.make("count")
            fresh.wish = replace(fresh.wish, request_id=old.wish.request_id)
            self.acknowledge(fresh)

    # What becomes of them ---------------------------------------------------------------------------------------------

    def release(self, which: int) -> None:
        expected = chosen((one for one in self.tasks if one.gate), which)
        if expected and expected.gate:
            expected.gate.touch()

    def cancel(self, which: int) -> None:
        expected = chosen(self.tasks, which)
        if expected is None:
            return
        expected.cancelled = expected.cancelled or expected.over is None
        task = self.client.cancel(expected.task_id, reason="the model wants it")
        expected.see(task)
        assert not expected.delayed or task.state == lifecycle.CANCELLED

    def retry(self, which: int) -> None:
        expected = self.settled(which)
        if expected is None:
            return
        if expected.stays or expected.over == lifecycle.SUCCEEDED:
            with pytest.raises(TaskNotEnded if expected.stays else TaskHasResult):
                self.client.retry(expected.task_id)
            return
        task = self.client.retry(expected.task_id)
        expected.revived()
        expected.see(task)

    def delete(self, which: int) -> None:
        expected = self.settled(which)
        if expected is None:
            return
        if expected.stays:
            with pytest.raises(TaskNotEnded):
                self.client.delete(expected.task_id)
        else:
            self.check_end_and_delete(expected)

    def settled(self, which: int) -> Expected | None:
        """Return a task whose state is known for sure: it has ended, or it cannot."""
        expected = chosen((one for one in self.tasks if one.due or one.stays), which)
        if expected and not expected.stays:
            expected.see(self.client.wait(expected.task_id, timeout_seconds=END_SECONDS))
        return expected

    def check_end_and_delete(self, expected: Expected) -> None:
        """Look at all that is known of a task that has ended, then have it forgotten."""
        expected.check_end(self.client.get(expected.task_id), list(self.client.watch(expected.task_id)))
        eventually(lambda: self.is_deleted(expected), seconds=END_SECONDS, what=f"the deletion of {expected}")
        self.tasks.remove(expected)
        self.deleted.append(expected)
        self.ask_for_nothing(expected.task_id)

    def is_deleted(self, expected: Expected) -> bool:
        with suppress(TaskNotEnded):  # its process is not gone yet
            self.client.delete(expected.task_id)
            return True
        return False

    # What is seen -----------------------------------------------------------------------------------------------------

    def look_up(self, which: int) -> None:
        states = STATES[which % 3 :: 3] if which < 6 else []
        behaviour = ("", "count", "hold")[which // 2 % 3]
        known = {one.task_id: one for one in self.tasks if behaviour in ("", one.wish.behaviour)}
        for task in self.client.list(states=states, behaviour=behaviour):
            assert not states or task.state in states
            known.pop(task.id).see(task)
        # What was left out has another state, or had one when it was its turn.
        for expected in known.values():
            assert states
            expected.see(self.client.get(expected.task_id))

    def ask_for_unknown(self, which: int) -> None:
        self.ask_for_nothing(f"{which:026}")

    def ask_for_nothing(self, task_id: str) -> None:
        """Ask in every way for a task that does not exist."""
        calls: list[Callable[[], object]] = [
            lambda: self.client.get(task_id),
            lambda: self.client.cancel(task_id),
            lambda: self.client.retry(task_id),
            lambda: self.client.delete(task_id),
            lambda: self.client.wait(task_id),
            lambda: next(self.client.watch(task_id)),
        ]
        for call in calls:
            with pytest.raises(UnknownTask):
                call()

    @invariant()
    def there_is_what_was_asked_for_and_nothing_else(self) -> None:
        found = {task.id: task for task in self.client.list()}
        assert sorted(found) == sorted(one.task_id for one in self.tasks)
        for expected in self.tasks:
            expected.see(found[expected.task_id])

    # Deaths -----------------------------------------------------------------------------------------------------------

    def kill(self, which: int) -> None:
        victim = self.victim(which)
        if victim:
            kill_agent(*victim)

    def victim(self, which: int) -> Victim | None:
        """Wait until an agent runs that can neither end nor was killed; None if there may be no room for it."""
        held = [one for one in self.tasks if one.stays and one.gate]
        expected = chosen(held, which)
        if expected is None or len(held) > CONCURRENCY:
            return None
        eventually(lambda: self.agent(expected), seconds=END_SECONDS, what=f"a process for {expected}")
        attempt = self.agent(expected)
        assert attempt
        return expected, attempt

    def agent(self, expected: Expected) -> attempt_pb2.Attempt | None:
        task = self.client.get(expected.task_id)
        expected.see(task)
        running = task.state == lifecycle.RUNNING and task.attempts[-1].number not in expected.deaths
        return task.attempts[-1] if running and task.attempts[-1].pid else None

    def crash(self, which: int) -> None:
        """Kill the coordinator; perhaps just when it has answered, or was asked; perhaps agents go on without it."""
        after = ("nothing", "an answer", "a question")[which % 3]
        meanwhile = ("nothing", "release", "kill")[which // 3 % 3]
        victim = self.victim(which) if meanwhile == "kill" else None
        asked = self.place.wishes.make("count")
        if after == "an answer":
            self.acknowledge(asked)
            self.place.crash()
        elif after == "a question":
            with ThreadPoolExecutor() as pool:
                question = pool.submit(submit, self.client, asked.wish)
                self.place.crash()
            if not isinstance(question.exception(), HundredfoldError):  # else, nobody knows whether it was heard
                asked.task_id = question.result().id
        else:
            self.place.crash()
        if victim:
            kill_agent(*victim)
        if meanwhile == "release":
            self.release(which)
        self.keep_promises(asked if after == "a question" else None)

    def keep_promises(self, asked: Expected | None) -> None:
        """Say everything again to the next coordinator, and what was not answered."""
        if asked:
            task = submit(self.client, asked.wish)
            assert asked.task_id in ("", task.id)
            asked.task_id = task.id
            self.tasks.append(asked)
        for expected in self.tasks:
            expected.restarted()
            self.repeat(expected)

    # The end ----------------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Let everything come to its end, and leave nothing for the next game, which has the same coordinator."""
        if sys.exc_info()[0]:  # this is called in a `finally`
            self.place.give_up()
            return
        try:
            self.settle()
        except BaseException:
            self.place.give_up()
            raise

    def settle(self) -> None:
        for expected in self.tasks:
            if expected.gate:
                expected.gate.touch()
            if expected.delayed and not expected.due:
                expected.cancelled = True
                self.client.cancel(expected.task_id)
        ids = {one.task_id for one in self.tasks}
        assert {task.id for task in self.client.as_ended(ids, timeout_seconds=END_SECONDS)} == ids
        for expected in [*self.tasks]:
            self.check_end_and_delete(expected)
        assert [*self.client.list()] == []


def play(machine: type[ApiMachine], examples: int, number: int) -> None:
    """Play some games.

    They are not made shorter when one fails: processes take their time, and thirty moves can be read.
    """
    run = settings(
        max_examples=examples,
        stateful_step_count=30,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(number)(machine), settings=run)


@pytest.fixture
def machine(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[type[ApiMachine]]:
    """A machine with a coordinator; a parameter names the protection that it does without."""
    off = getattr(request, "param", None)
    place = Place(tmp_path, build(*(("--off", off) if off else ())))
    yield type("Machine", (ApiMachine,), {"place": place})
    place.give_up()


@pytest.mark.timeout(36_000)
def test_the_api_keeps_its_promises(machine: type[ApiMachine], pytestconfig: pytest.Config) -> None:
    runs, number = pytestconfig.getoption("--runs"), pytestconfig.getoption("--seed")
    print(f"repeat with ./scripts/test tests/faults/test_api_model.py --runs {runs} --seed {number}")
    play(machine, runs, number)


@pytest.mark.parametrize("machine", [pytest.param("commit-first", marks=pytest.mark.soak), "requests"], indirect=True)
def test_a_protection_that_is_missing_is_found(machine: type[ApiMachine]) -> None:
    with pytest.raises((AssertionError, ExceptionGroup)) as found:  # a group, if a second game went another way
        play(machine, 20, 1)
    assert isinstance(found.value, AssertionError) or found.group_contains(AssertionError)


def test_a_history_that_cannot_be_is_found() -> None:
    end = task_pb2.Event(sequence=2, state_change=task_pb2.StateChange(state=lifecycle.SUCCEEDED))
    begin = task_pb2.Event(sequence=1, state_change=task_pb2.StateChange(state=lifecycle.QUEUED))
    for wrong in ([begin, end], [end, begin], [begin, begin]):
        with pytest.raises(AssertionError):
            check_history(wrong)
