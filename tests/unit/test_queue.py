"""Shows who is next: first come first served, one at a time per session; and compares with a model that is plain."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from hundredfold_coordinator.core.queue import Lane, Queue
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

ENV = Lane("", "default", "b", 0)


def lane(environment: str) -> Lane:
    """Return the lane of an environment."""
    return ENV._replace(environment=environment)


def pop(queue: Queue, lanes: Iterable[Lane]) -> str | None:
    """Take the first of all that are ready in these lanes."""
    wanted = set(lanes)
    heads = [(place, found) for found, place in queue.heads() if found in wanted]
    return queue.take(min(heads)[1]) if heads else None


def queue_of(*tasks: tuple[str, str]) -> Queue:
    """Return a queue of tasks with their sessions, in one environment."""
    queue = Queue()
    for task_id, session in tasks:
        queue.add(task_id, ENV, session)
    return queue


def drained(queue: Queue, *environments: str) -> list[str]:
    """Take everything out that is ready."""
    taken = []
    while (task_id := pop(queue, map(lane, environments) if environments else [ENV])) is not None:
        taken.append(task_id)
    return taken


def test_the_oldest_is_next() -> None:
    queue = queue_of(("b", ""), ("c", ""), ("a", ""))
    assert drained(queue) == ["a", "b", "c"]
    assert pop(queue, [ENV]) is None


def test_it_knows_what_waits() -> None:
    queue = queue_of(("a", ""), ("b", "s"), ("c", "s"))
    assert (len(queue), "c" in queue) == (3, True)
    assert pop(queue, [ENV]) == "a"
    assert (len(queue), "a" in queue) == (2, False)


def test_an_empty_queue_has_nothing() -> None:
    queue = Queue()
    assert pop(queue, [ENV]) is None
    assert pop(queue, []) is None
    assert len(queue) == 0


# Environments ---------------------------------------------------------------------------------------------------------


def test_only_environments_that_are_ready_are_served() -> None:
    queue = Queue()
    queue.add("a", lane("slow"), "")
    queue.add("b", lane("fast"), "")
    assert drained(queue, "fast") == ["b"]
    assert pop(queue, []) is None
    assert drained(queue, "fast", "slow") == ["a"]


def test_the_oldest_over_all_environments_is_next() -> None:
    queue = Queue()
    for number, task_id in enumerate("abcdef"):
        queue.add(task_id, lane(("one", "two", "three")[number % 3]), "")
    assert drained(queue, "three", "one", "two") == list("abcdef")


def test_a_session_goes_on_in_another_environment() -> None:
    queue = Queue()
    queue.add("a", lane("one"), "s")
    queue.add("b", lane("two"), "s")
    assert drained(queue, "one", "two") == ["a"]
    queue.release("a", "s")
    assert drained(queue, "one") == []
    assert drained(queue, "two") == ["b"]


# Sessions -------------------------------------------------------------------------------------------------------------


def test_a_session_runs_one_task_at_a_time_and_in_order() -> None:
    queue = queue_of(("a", "s"), ("b", "s"), ("c", "s"))
    for task_id in "abc":
        assert drained(queue) == [task_id]
        queue.release(task_id, "s")
    assert queue.holder("s") is None


def test_sessions_do_not_wait_for_each_other() -> None:
    queue = queue_of(("a", "s"), ("b", "s"), ("c", "t"), ("d", ""))
    assert drained(queue) == ["a", "c", "d"]


def test_a_session_keeps_its_place_among_the_others() -> None:
    queue = queue_of(("a", "s"), ("b", "s"), ("c", ""))
    assert pop(queue, [ENV]) == "a"
    queue.release("a", "s")
    assert drained(queue) == ["b", "c"]


def test_tasks_without_a_session_never_wait_for_each_other() -> None:
    queue = queue_of(("a", ""), ("b", ""))
    queue.release("a", "")
    assert queue.holder("") is None
    assert drained(queue) == ["a", "b"]


def test_the_holder_is_named() -> None:
    queue = queue_of(("a", "s"), ("b", "s"))
    assert queue.holder("s") == "a"
    pop(queue, [ENV])
    assert queue.holder("s") == "a"
    queue.release("a", "s")
    assert queue.holder("s") == "b"


def test_only_the_holder_can_release_a_session() -> None:
    queue = queue_of(("a", "s"), ("b", "s"), ("c", "s"))
    assert drained(queue) == ["a"]
    queue.release("b", "s")
    assert drained(queue) == []
    assert queue.holder("s") == "a"


def test_a_task_that_runs_already_can_have_the_session() -> None:
    queue = Queue()
    queue.reserve("running", "s")
    queue.add("a", ENV, "s")
    assert drained(queue) == []
    queue.release("running", "s")
    assert drained(queue) == ["a"]


# Removing and giving back ---------------------------------------------------------------------------------------------


def test_a_removed_task_is_not_served() -> None:
    queue = queue_of(("a", ""), ("b", ""), ("c", ""))
    queue.remove("b", "")
    assert (len(queue), "b" in queue) == (2, False)
    assert drained(queue) == ["a", "c"]


def test_removing_the_holder_lets_the_next_one_come() -> None:
    queue = queue_of(("a", "s"), ("b", "s"))
    queue.remove("a", "s")
    assert drained(queue) == ["b"]


def test_removing_one_in_the_line_lets_the_others_come() -> None:
    queue = queue_of(("a", "s"), ("b", "s"), ("c", "s"), ("d", "s"))
    queue.remove("b", "s")
    queue.remove("c", "s")
    assert drained(queue) == ["a"]
    queue.release("a", "s")
    assert drained(queue) == ["d"]


def test_removing_what_is_not_there_changes_nothing() -> None:
    queue = queue_of(("a", "s"))
    queue.remove("unknown", "s")
    assert drained(queue) == ["a"]


def test_a_task_that_is_given_back_keeps_its_place() -> None:
    queue = queue_of(("a", ""), ("b", ""), ("c", ""))
    assert [pop(queue, [ENV]), pop(queue, [ENV])] == ["a", "b"]
    queue.add("a", ENV, "")
    assert drained(queue) == ["a", "c"]


def test_a_task_that_is_given_back_keeps_its_session() -> None:
    queue = queue_of(("a", "s"), ("b", "s"))
    assert pop(queue, [ENV]) == "a"
    queue.add("a", ENV, "s")
    assert drained(queue) == ["a"]
    queue.release("a", "s")
    assert drained(queue) == ["b"]


# Against a model ------------------------------------------------------------------------------------------------------


@dataclass
class Task:
    """A task of the model. What it holds follows from the order of the list it is in."""

    task_id: str
    environment: str
    session: str
    waiting: bool = True


@dataclass
class Model:
    """Everything that has not ended, in the order of submission; every question is answered by looking through it."""

    tasks: list[Task] = field(default_factory=list)

    def holder(self, session: str) -> Task | None:
        return next((task for task in self.tasks if session and task.session == session), None)

    def ready(self, environments: set[str]) -> Task | None:
        ready = (task for task in self.tasks if task.waiting and task.environment in environments)
        return next((task for task in ready if self.holder(task.session) in (None, task)), None)


class QueueMachine(RuleBasedStateMachine):
    """Does the same to the queue and to the model."""

    def __init__(self) -> None:
        super().__init__()
        self.queue, self.model, self.submitted = Queue(), Model(), 0

    @rule(environment=st.sampled_from("xy"), session=st.sampled_from(["", "", "s", "t"]))
    def submit(self, environment: str, session: str) -> None:
        self.submitted += 1
        task = Task(f"{self.submitted:06}", environment, session)
        self.model.tasks.append(task)
        self.queue.add(task.task_id, lane(environment), session)

    @rule(environments=st.sets(st.sampled_from("xy")))
    def take(self, environments: set[str]) -> None:
        wanted = self.model.ready(environments)
        assert pop(self.queue, map(lane, environments)) == (wanted and wanted.task_id)
        if wanted:
            wanted.waiting = False

    @precondition(lambda self: self.model.tasks)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(self.model.tasks))
        self.model.tasks.remove(task)
        self.queue.remove(task.task_id, task.session)

    @precondition(lambda self: not all(task.waiting for task in self.model.tasks))
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from([task for task in self.model.tasks if not task.waiting]))
        task.waiting = True
        self.queue.add(task.task_id, lane(task.environment), task.session)

    @rule()
    def restart(self) -> None:
        """Build the queue anew, as recovery does."""
        self.queue = Queue()
        for task in sorted(self.model.tasks, key=lambda task: task.waiting):
            if task.waiting:
                self.queue.add(task.task_id, lane(task.environment), task.session)
            elif task.session:
                self.queue.reserve(task.task_id, task.session)

    @invariant()
    def agrees(self) -> None:
        assert len(self.queue) == sum(task.waiting for task in self.model.tasks)
        assert all((task.task_id in self.queue) == task.waiting for task in self.model.tasks)
        for session in "st":
            holder = self.model.holder(session)
            assert self.queue.holder(session) == (holder and holder.task_id)


TestQueueAgainstModel = QueueMachine.TestCase
TestQueueAgainstModel.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
