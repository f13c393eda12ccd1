"""What a task may use and when it is tried again: checked as it was asked for, and filled in as it holds."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hundredfold import bounds
from hundredfold.errors import InvalidArgument
from hundredfold.v1 import behaviour_pb2, policy_pb2, task_pb2

from hundredfold_coordinator.core.state import Limits

_LAST_SECOND: Final = 1 << 33
_NANOS: Final = 1_000_000_000
_TYPES: Final = 50
_STRATEGIES: Final = frozenset(task_pb2.Strategy.values())
_FAULTS: Final = frozenset(task_pb2.Fault.values())
_UNHURRIED: Final = (task_pb2.SESSION_POLICY_UNSPECIFIED, task_pb2.SESSION_POLICY_ENQUEUE)


def check(spec: task_pb2.TaskSpec) -> None:
    """Check what a client asks for.

    Raises:
        InvalidArgument: names the first field that is out of its range.

    """
    bounds.check_name("spec.tenant", spec.tenant)
    bounds.check_name("spec.session", spec.session)
    _check_session_policy(spec)
    if spec.strategy not in _STRATEGIES:
        raise InvalidArgument("spec.strategy", "is none; see Strategy")
    bounds.check_integer("spec.priority", spec.priority, bounds.PRIORITY)
    for field, value in spec.ListFields():
        if field.name in _OPTIONAL:
            _OPTIONAL[field.name](f"spec.{field.name}", value)
    close = spec.schedule_to_close_timeout.ToNanoseconds()
    if spec.HasField("schedule_to_start_timeout") and close and spec.schedule_to_start_timeout.ToNanoseconds() > close:
        raise InvalidArgument("spec.schedule_to_start_timeout", "is longer than `spec.schedule_to_close_timeout`")


def check_limits(field: str, limits: policy_pb2.Limits) -> None:
    """Check what a client asks for, or would ask for.

    Raises:
        InvalidArgument: names the first that is out of its bounds.

    """
    for name in ("wall_time", "cpu_time"):
        _check_duration(f"{field}.{name}", getattr(limits, name))
    for name, possible in bounds.LIMITS.items():
        bounds.check_integer(f"{field}.{name}", getattr(limits, name), possible)


def fill_in(spec: task_pb2.TaskSpec, behaviour: behaviour_pb2.Behaviour, limits: Limits) -> None:
    """Put into a spec what really holds: its own wish, else the behaviour's, else the coordinator's."""
    wished = spec.limits if spec.HasField("limits") else None
    spec.limits.CopyFrom(_overlaid(behaviour.limits, wished) if wished else behaviour.limits)
    if not spec.limits.wall_time.ToNanoseconds() and limits.wall_limit_seconds:
        spec.limits.wall_time.FromNanoseconds(int(limits.wall_limit_seconds * 1e9))
    spec.limits.processes = spec.limits.processes or limits.process_limit
    spec.strategy = spec.strategy or limits.strategies.get(spec.behaviour, task_pb2.STRATEGY_FRESH)
    if not spec.HasField("retry") and behaviour.HasField("retry"):
        spec.retry.CopyFrom(behaviour.retry)


def _overlaid(limits: policy_pb2.Limits, wished: policy_pb2.Limits) -> policy_pb2.Limits:
    """Return limits with what is wished for instead; 0 is no wish."""
    holding = policy_pb2.Limits()
    holding.CopyFrom(limits)
    for field, value in wished.ListFields():
        if isinstance(value, Duration) and value.ToNanoseconds():
            getattr(holding, field.name).CopyFrom(value)
        elif not isinstance(value, Duration):
            setattr(holding, field.name, value)
    return holding


def _check_session_policy(spec: task_pb2.TaskSpec) -> None:
    if spec.session_policy not in task_pb2.SessionPolicy.values():
        raise InvalidArgument("spec.session_policy", "is none; see SessionPolicy")
    if not spec.session and spec.session_policy not in _UNHURRIED:
        name = task_pb2.SessionPolicy.Name(spec.session_policy).removeprefix("SESSION_POLICY_")
        raise InvalidArgument("spec.session_policy", f"is {name}, which means nothing without `spec.session`")


def _check_injection(field: str, injection: task_pb2.Injection) -> None:
    if injection.fault not in _FAULTS:
        raise InvalidArgument(f"{field}.fault", "is none; see Fault")
    _check_duration(f"{field}.time", injection.time)


def _check_time(field: str, time: Timestamp) -> None:
    if not 0 <= time.seconds <= _LAST_SECOND or not 0 <= time.nanos < _NANOS:
        raise InvalidArgument(field, "is no time of this age")


def _check_timeout(field: str, timeout: Duration) -> None:
    _check_duration(field, timeout, above_zero=True)


def _check_retry(field: str, policy: policy_pb2.RetryPolicy) -> None:
    bounds.check_integer(f"{field}.max_attempts", policy.max_attempts, bounds.MAX_ATTEMPTS)
    if len({rule.cause for rule in policy.rules}) < len(policy.rules):
        raise InvalidArgument(f"{field}.rules", "has two for the same cause")
    for index, rule in enumerate(policy.rules):
        if rule.cause not in policy_pb2.RetryCause.values() or not rule.cause:
            raise InvalidArgument(f"{field}.rules[{index}].cause", "is none; see RetryCause")
        bounds.check_integer(f"{field}.rules[{index}].max_attempts", rule.max_attempts, bounds.ATTEMPTS)
    for path, backoff in _backoffs(field, policy):
        _check_duration(f"{path}.initial", backoff.initial)
        _check_duration(f"{path}.max", backoff.max)
        bounds.check_number(f"{path}.multiplier", backoff.multiplier, bounds.MULTIPLIER)
    if len(policy.non_retryable_types) > _TYPES:
        count = len(policy.non_retryable_types)
        raise InvalidArgument(f"{field}.non_retryable_types", f"has {count} entries and may have {_TYPES}")
    for index, name in enumerate(policy.non_retryable_types):
        bounds.check_length(f"{field}.non_retryable_types[{index}]", name, least=1)


def _backoffs(field: str, policy: policy_pb2.RetryPolicy) -> Iterator[tuple[str, policy_pb2.Backoff]]:
    yield f"{field}.backoff", policy.backoff
    for index, rule in enumerate(policy.rules):
        yield f"{field}.rules[{index}].backoff", rule.backoff


def _check_duration(field: str, duration: Duration, *, above_zero: bool = False) -> None:
    seconds = duration.seconds + duration.nanos / 1e9
    possible = bounds.SECONDS.allow(seconds) and 0 <= duration.nanos < _NANOS
    if not possible or (above_zero and not seconds):
        least = "above 0" if above_zero else "from 0"
        raise InvalidArgument(field, f"is {seconds:.15g} s and must be {least} to {bounds.LONGEST_SECONDS} s")


_OPTIONAL: Final[Mapping[str, Callable[[str, Any], None]]] = {
    "injection": _check_injection,
    "schedule_to_start_timeout": _check_timeout,
    "schedule_to_close_timeout": _check_timeout,
    "limits": check_limits,
    "retry": _check_retry,
    "not_before": _check_time,
}
"""How fields are checked that most tasks leave out: those are not to pay for them."""
