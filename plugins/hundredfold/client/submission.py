"""What both clients share: how a wish becomes a request, and an answer a value."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from hundredfold import bounds
from hundredfold.errors import HundredfoldError, InvalidArgument, TaskFailed
from hundredfold.injection import Injection
from hundredfold.policy import Limits, Retry, duration
from hundredfold.status import from_status
from hundredfold.v1 import payload_pb2, task_pb2
from hundredfold.v1 import task_service_pb2 as pb

BATCH_TASKS: Final = 500
"""Tasks sent in one call."""

BATCH_BYTES: Final = 8 << 20
"""Input sent in one call, in bytes."""


SESSION_POLICIES: Final = ("enqueue", "reject", "interrupt", "rollback", "concurrent")
"""What can become of a task while another one has its session; `task.proto` says what they mean."""

STRATEGIES: Final = ("fresh", "pool", "stateful", "sequential")
"""Which processes attempts can run in; `task.proto` says what they mean."""

_MOST_INT32: Final = (1 << 31) - 1
_TEXTS: Final = ("behaviour", "session", "environment", "tenant", "request_id")

NO_INPUT: Final[dict[str, Any]] = {}
"""What a behaviour without parameters is given."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A wish for one task.

    Raises:
        InvalidArgument: from `request`, when a field is no possible value.

    Attributes:
        behaviour: name of the behaviour.
        input: its input, any JSON value; an empty object by default.
        session: session it belongs to; empty for none.
        environment: where the behaviour is; empty for the default one.
        tenant: whom it is for: tenants share the machine by their weights.
        session_policy: what becomes of it while another task has its session; see `SESSION_POLICIES`.
        strategy: which processes its attempts run in, see `STRATEGIES`; empty for what the coordinator says.
        labels: for finding it again.
        priority: order among the tasks that wait, -100 to 100, higher first.
        not_before: when it may start at the earliest, with a time zone; None for at once.
        schedule_to_start_seconds: how long it may wait for its first attempt; None for any time.
        schedule_to_close_seconds: how long it may take until its end, all attempts together; None for any time.
        limits: what each attempt may use; None for what the behaviour or the coordinator says.
        retry: when it is tried again; None for what the behaviour says, or the defaults.
        injection: what is done to its attempts on purpose; None for nothing.
        request_id: the same in every repetition of this wish; empty if a repetition shall make another task.

    """

    behaviour: str
    input: Any = field(default_factory=dict)
    session: str = ""
    environment: str = ""
    tenant: str = ""
    session_policy: str = ""
    strategy: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    not_before: datetime | None = None
    schedule_to_start_seconds: float | None = None
    schedule_to_close_seconds: float | None = None
    limits: Limits | None = None
    retry: Retry | None = None
    injection: Injection | None = None
    request_id: str = ""

    def request(self) -> pb.SubmitTaskRequest:
        """Return the request that says this."""
        self._check()
        spec = task_pb2.TaskSpec(
            behaviour=self.behaviour,
            environment=self.environment,
            input=encode(self.input),
            session=self.session,
            session_policy=_session_policy(self.session_policy),
            strategy=_strategy(self.strategy),
            injection=self.injection.message() if self.injection else None,
            tenant=self.tenant,
            labels=self.labels,
            priority=self.priority,
            limits=self.limits.message() if self.limits else None,
            retry=self.retry.message() if self.retry else None,
        )
        if self.not_before:
            _set_time(spec.not_before, "not_before", self.not_before)
        for name in ("schedule_to_start", "schedule_to_close"):
            seconds = getattr(self, f"{name}_seconds")
            if seconds is not None:
                getattr(spec, f"{name}_timeout").CopyFrom(duration(f"{name}_seconds", seconds))
        return pb.SubmitTaskRequest(spec=spec, request_id=self.request_id)

    def _check(self) -> None:
        """Refuse by its name what could not even be sent; the rest is for the coordinator to judge."""
        if not isinstance(self.priority, int) or abs(self.priority) > _MOST_INT32:
            bounds.check_integer("priority", self.priority, bounds.PRIORITY)
        if not isinstance(self.labels, Mapping):
            raise InvalidArgument("labels", f"is {self.labels!r} and must be a mapping of texts")
        texts = {name: getattr(self, name) for name in _TEXTS}
        for key, value in self.labels.items():
            texts |= {f"labels[{key}]": key, f"labels.{key}": value}
        for name, text in texts.items():
            if not isinstance(text, str):
                raise InvalidArgument(name, f"is {text!r} and must be text")


def _set_time(target: Timestamp, name: str, moment: datetime) -> None:
    try:
        target.FromDatetime(moment.astimezone(UTC))
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
        raise InvalidArgument(name, f"is {moment!r} and must be a moment after 1970: {error}") from error


def _session_policy(name: str) -> task_pb2.SessionPolicy.ValueType:
    if not name:
        return task_pb2.SESSION_POLICY_UNSPECIFIED
    if name not in SESSION_POLICIES:
        raise InvalidArgument("session_policy", f"is {name!r}, which is none; there are: {', '.join(SESSION_POLICIES)}")
    return task_pb2.SessionPolicy.Value(f"SESSION_POLICY_{name.upper()}")


def _strategy(name: str) -> task_pb2.Strategy.ValueType:
    if not name:
        return task_pb2.STRATEGY_UNSPECIFIED
    if name not in STRATEGIES:
        raise InvalidArgument("strategy", f"is {name!r}, which is none; there are: {', '.join(STRATEGIES)}")
    return task_pb2.Strategy.Value(f"STRATEGY_{name.upper()}")


def encode(value: Any) -> payload_pb2.Payload:
    """Return a JSON value as a payload.

    Raises:
        InvalidArgument: it is no JSON value; NaN is none, either.

    """
    try:
        data = json.dumps(value, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise InvalidArgument("input", f"is no JSON value: {error}") from error
    return payload_pb2.Payload(content_type="application/json", data=data)


def decode(payload: payload_pb2.Payload) -> Any:
    """Return a payload's JSON value."""
    return json.loads(payload.data)


def result_of(task: task_pb2.Task) -> Any:
    """Return the result of a task that has ended.

    Raises:
        TaskFailed: it ended without one; the error says how.

    """
    if task.state == task_pb2.TASK_STATE_SUCCEEDED:
        return decode(task.result)
    state = task_pb2.TaskState.Name(task.state).removeprefix("TASK_STATE_")
    raise TaskFailed(task.id, state, task.failure.type, task.failure.message)


def batches(submissions: Iterable[Submission]) -> Iterator[pb.BatchSubmitTasksRequest]:
    """Yield requests of a bounded size for any number of wishes."""
    batch, size = pb.BatchSubmitTasksRequest(), 0
    for submission in submissions:
        request = submission.request()
        if batch.requests and (len(batch.requests) == BATCH_TASKS or size + request.ByteSize() > BATCH_BYTES):
            yield batch
            batch, size = pb.BatchSubmitTasksRequest(), 0
        batch.requests.append(request)
        size += request.ByteSize()
    if batch.requests:
        yield batch


def outcomes(response: pb.BatchSubmitTasksResponse) -> Iterator[task_pb2.Task | HundredfoldError]:
    """Yield for each wish its task, or the error it was refused with."""
    for result in response.results:
        yield result.task if result.HasField("task") else from_status(result.error)
