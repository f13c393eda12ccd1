"""What a task may use and when it is tried again: checked as it was asked for, and filled in as it holds."""

from collections.abc import Iterator
from typing import Final

from google.protobuf.duration_pb2 import Duration
from hundredfold import bounds
from hundredfold.errors import InvalidArgument
from hundredfold.v1 import behaviour_pb2, policy_pb2, task_pb2

from hundredfold_coordinator.core.state import Limits

_LAST_SECOND: Final = 1 << 33
_NANOS: Final = 1_000_000_000
_TYPES: Final = 50
_UNHURRIED: Final = (task_pb2.SESSION_POLICY_UNSPECIFIED, task_pb2.SESSION_POLICY_ENQUEUE)


def check(spec: task_pb2.TaskSpec) -> None:
    """Check what a client asks for.

    Raises:
        InvalidArgument: names the first field that is out of its range.

    """
    bounds.check_name("spec.tenant", spec.tenant)
    bounds.check_name("spec.session", spec.session)
    _check_session_policy(spec)
    if spec.strategy not in task_pb2.Strategy.values():
        raise InvalidArgument("spec.strategy", "is none; see Strategy")
    if spec.injection.fault not in task_pb2.Fault.values():
        raise InvalidArgument("spec.injection.fault", "is none; see Fault")
    _check_duration("spec.injection.time", spec.injection.time)
    bounds.check_integer("spec.priority", spec.priority, bounds.PRIORITY)
    for field in ("schedule_to_start_timeout", "schedule_to_close_timeout"):
        if spec.HasField(field):
            _check_duration(f"spec.{field}", getattr(spec, field), above_zero=True)
    check_limits("spec.limits", spec.limits)
    _check_retry("spec.retry", spec.retry)
    begin = spec.not_before
    if not 0 <= begin.seconds <= _LAST_SECOND or not 0 <= begin.nanos < _NANOS:
        raise InvalidArgument("spec.not_before", "is no time of this age")
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
    wished = policy_pb2.Limits()
    wished.CopyFrom(spec.limits)
    spec.limits.CopyFrom(behaviour.limits)
    if wished.wall_time.ToNanoseconds():
        spec.limits.wall_time.CopyFrom(wished.wall_time)
    elif not spec.limits.wall_time.ToNanoseconds() and limits.wall_limit_seconds:
        spec.limits.wall_time.FromNanoseconds(int(limits.wall_limit_seconds * 1e9))
    if wished.cpu_time.ToNanoseconds():
        spec.limits.cpu_time.CopyFrom(wished.cpu_time)
    for field in ("memory_bytes", "processes", "descriptors", "output_bytes"):
        setattr(spec.limits, field, getattr(wished, field) or getattr(spec.limits, field))
    spec.limits.processes = spec.limits.processes or limits.process_limit
    spec.strategy = spec.strategy or limits.strategies.get(spec.behaviour, task_pb2.STRATEGY_FRESH)
    if not spec.HasField("retry") and behaviour.HasField("retry"):
        spec.retry.CopyFrom(behaviour.retry)


def _check_session_policy(spec: task_pb2.TaskSpec) -> None:
    if spec.session_policy not in task_pb2.SessionPolicy.values():
        raise InvalidArgument("spec.session_policy", "is none; see SessionPolicy")
    if not spec.session and spec.session_policy not in _UNHURRIED:
        name = task_pb2.SessionPolicy.Name(spec.session_policy).removeprefix("SESSION_POLICY_")
        raise InvalidArgument("spec.session_policy", f"is {name}, which means nothing without `spec.session`")


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
