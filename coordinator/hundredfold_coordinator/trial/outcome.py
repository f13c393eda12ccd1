"""What became of the tasks of one run, in seconds since its first submission."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from google.protobuf.timestamp_pb2 import Timestamp
from hundredfold.injection import Injection
from hundredfold.v1 import attempt_pb2, task_pb2

PROCESS_ENDS = frozenset({"EXITED", "SIGNALLED", "TIMED_OUT", "OOM_KILLED", "EVICTED", "CANCELLED", "HOST_LOST"})
"""Outcomes of attempts that end their process, too."""


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt: when its behaviour began and it ended, how, and in which process."""

    began_s: float
    ended_s: float
    outcome: str
    pid: int


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """What became of one task.

    Attributes:
        index: its line of the input, from 0.
        fault: what was injected; empty for nothing: then it is an innocent.
        state: how it ended, `SUCCEEDED` or otherwise.
        submitted_s, ended_s: when.
        tries: its attempts, as far as their behaviour began.
        failure: what kind of failure it ended with; empty for none.
        message: what that says.
        session: the session it has; empty for none.
        canary: the task whose trace an attempt found in its process; empty for none.
        digest: of its result; empty without one.

    """

    index: int
    fault: str
    state: str
    submitted_s: float
    ended_s: float
    tries: tuple[Try, ...] = ()
    failure: str = ""
    message: str = ""
    session: str = ""
    canary: str = ""
    digest: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether it has a result."""
        return self.state == "SUCCEEDED"

    @property
    def was_dropped(self) -> bool:
        """Whether it waited for a process that is gone; what else a failure says is the behaviour's own."""
        return self.failure == "DROPPED"

    @property
    def latency_s(self) -> float:
        """From its submission to its end."""
        return self.ended_s - self.submitted_s

    @property
    def running_s(self) -> float:
        """How long its attempts ran."""
        return sum(one.ended_s - one.began_s for one in self.tries)

    @property
    def waiting_s(self) -> float:
        """How long none of them did."""
        return max(0.0, self.latency_s - self.running_s)


@dataclass(frozen=True, slots=True)
class Sample:
    """A moment of a run: memory in use, less that before; CPUs busy, less what all else did on average."""

    at_s: float
    memory_bytes: int
    cores: float


@dataclass(frozen=True, slots=True)
class Run:
    """One run of all tasks under one strategy.

    Attributes:
        strategy: see `Strategy` in task.proto, in small letters.
        repeat: which of its repetitions, from 1.
        tasks: in the order of the input.
        samples: in the order of time.
        cpu_s: CPU time of the coordinator and all its descendants meanwhile.
        others_cores: CPUs that everything else kept busy meanwhile, on average.

    """

    strategy: str
    repeat: int
    tasks: Sequence[TaskOutcome]
    samples: Sequence[Sample] = field(default_factory=tuple)
    cpu_s: float = 0
    others_cores: float = 0

    @property
    def makespan_s(self) -> float:
        """From the first submission to the last end."""
        return max((task.ended_s for task in self.tasks), default=0.0)


def outcomes_of(
    tasks: Iterable[task_pb2.Task], injections: Mapping[int, Injection], canaries: Mapping[str, str]
) -> list[TaskOutcome]:
    """Return what became of tasks, which are in the order of the input; `canaries` are those found, by task."""
    listed = list(tasks)
    begin = min((_seconds(task.create_time) for task in listed), default=0.0)
    return [_outcome(index, task, injections, canaries, begin) for index, task in enumerate(listed)]


def _outcome(
    index: int, task: task_pb2.Task, injections: Mapping[int, Injection], canaries: Mapping[str, str], begin: float
) -> TaskOutcome:
    tries = tuple(_try(attempt, begin) for attempt in task.attempts if attempt.HasField("start_time"))
    digest = sha256(task.result.data).hexdigest()[:16] if task.HasField("result") else ""
    return TaskOutcome(
        index=index,
        fault=injections[index].fault if index in injections else "",
        state=task_pb2.TaskState.Name(task.state).removeprefix("TASK_STATE_"),
        submitted_s=_seconds(task.create_time) - begin,
        ended_s=_seconds(task.end_time) - begin,
        tries=tries,
        failure=_outcome_name(task.failure.outcome) if task.HasField("failure") else "",
        message=task.failure.message,
        session=task.spec.session,
        canary=canaries.get(task.id, ""),
        digest=digest,
    )


def _try(attempt: attempt_pb2.Attempt, begin: float) -> Try:
    start, end = _seconds(attempt.start_time) - begin, _seconds(attempt.end_time) - begin
    return Try(start, max(start, end), _outcome_name(attempt.outcome), attempt.pid)


def _outcome_name(outcome: attempt_pb2.AttemptOutcome.ValueType) -> str:
    return attempt_pb2.AttemptOutcome.Name(outcome).removeprefix("ATTEMPT_OUTCOME_")


def _seconds(moment: Timestamp) -> float:
    return float(moment.ToNanoseconds()) / 1e9
