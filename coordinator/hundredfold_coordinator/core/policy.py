"""What a task may use and when it is tried again: checked as it was asked for, and filled in as it holds."""

from collections.abc import Iterator
from typing import Final

from google.protobuf.duration_pb2 import Duration
from hundredfold.errors import InvalidArgument
from hundredfold.v1 import behaviour_pb2, policy_pb2, task_pb2

from hundredfold_coordinator.core.state import Limits

_LONGEST_SECONDS: Final = 366 * 86_400
_LAST_SECOND: Final = 1 << 33
_NANOS: Final = 1_000_000_000
_PRIORITY: Final = 100
_ATTEMPTS: Final = 1000
_MULTIPLIER: Final = 1000
_TYPES: Final = 50
_NAME_LENGTH: Final = 200
_LEAST_MEMORY: Final = 16 << 20
_MOST_MEMORY: Final = 1 << 50
_MOST_PROCESSES: Final = 1_000_000
_LEAST_DESCRIPTORS: Final = 32
_MOST_DESCRIPTORS: Final = 1 << 30


def check(spec: task_pb2.TaskSpec) -> None:
    """Check what a client asks for.

    Raises:
        InvalidArgument: names the first field that is out of its range.

    """
    _check_range("spec.tenant", len(spec.tenant), 0, _NAME_LENGTH)
    if spec.session_policy not in task_pb2.SessionPolicy.values():
        raise InvalidArgument("spec.session_policy", "is none; see SessionPolicy")
    if abs(spec.priority) > _PRIORITY:
        raise InvalidArgument("spec.priority", f"is {spec.priority} and must be from -{_PRIORITY} to {_PRIORITY}")
    for field in ("schedule_to_start_timeout", "schedule_to_close_timeout"):
        if spec.HasField(field):
            _check_duration(f"spec.{field}", getattr(spec, field), above_zero=True)
    _check_limits("spec.limits", spec.limits)
    _check_retry("spec.retry", spec.retry)
    begin = spec.not_before
    if not 0 <= begin.seconds <= _LAST_SECOND or not 0 <= begin.nanos < _NANOS:
        raise InvalidArgument("spec.not_before", "is no time of this age")
    close = spec.schedule_to_close_timeout.ToNanoseconds()
    if spec.HasField("schedule_to_start_timeout") and close and spec.schedule_to_start_timeout.ToNanoseconds() > close:
        raise InvalidArgument("spec.schedule_to_start_timeout", "is longer than `spec.schedule_to_close_timeout`")


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
    if not spec.HasField("retry") and behaviour.HasField("retry"):
        spec.retry.CopyFrom(behaviour.retry)


def _check_limits(field: str, limits: policy_pb2.Limits) -> None:
    _check_duration(f"{field}.wall_time", limits.wall_time)
    if limits.memory_bytes:
        _check_range(f"{field}.memory_bytes", limits.memory_bytes, _LEAST_MEMORY, _MOST_MEMORY)
    _check_range(f"{field}.processes", limits.processes, 0, _MOST_PROCESSES)
    _check_duration(f"{field}.cpu_time", limits.cpu_time)
    if limits.descriptors:
        _check_range(f"{field}.descriptors", limits.descriptors, _LEAST_DESCRIPTORS, _MOST_DESCRIPTORS)
    _check_range(f"{field}.output_bytes", limits.output_bytes, 0, _MOST_MEMORY)


def _check_retry(field: str, policy: policy_pb2.RetryPolicy) -> None:
    _check_range(f"{field}.max_attempts", policy.max_attempts, 0, _ATTEMPTS)
    _check_range(f"{field}.rules", len({rule.cause for rule in policy.rules}), len(policy.rules), len(policy.rules))
    for index, rule in enumerate(policy.rules):
        if rule.cause not in policy_pb2.RetryCause.values() or not rule.cause:
            raise InvalidArgument(f"{field}.rules[{index}].cause", "is none; see RetryCause")
        _check_range(f"{field}.rules[{index}].max_attempts", rule.max_attempts, 1, _ATTEMPTS)
    for path, backoff in _backoffs(field, policy):
        _check_duration(f"{path}.initial", backoff.initial)
        _check_duration(f"{path}.max", backoff.max)
        if backoff.multiplier and not 1 <= backoff.multiplier <= _MULTIPLIER:
            raise InvalidArgument(
                f"{path}.multiplier", f"is {backoff.multiplier:g} and must be from 1 to {_MULTIPLIER}"
            )
    _check_range(f"{field}.non_retryable_types", len(policy.non_retryable_types), 0, _TYPES)
    for index, name in enumerate(policy.non_retryable_types):
        _check_range(f"{field}.non_retryable_types[{index}]", len(name), 1, _NAME_LENGTH)


def _backoffs(field: str, policy: policy_pb2.RetryPolicy) -> Iterator[tuple[str, policy_pb2.Backoff]]:
    yield f"{field}.backoff", policy.backoff
    for index, rule in enumerate(policy.rules):
        yield f"{field}.rules[{index}].backoff", rule.backoff


def _check_duration(field: str, duration: Duration, *, above_zero: bool = False) -> None:
    seconds = duration.seconds + duration.nanos / 1e9
    possible = 0 <= seconds <= _LONGEST_SECONDS and 0 <= duration.nanos < _NANOS
    if not possible or (above_zero and not seconds):
        least = "above 0" if above_zero else "from 0"
        raise InvalidArgument(field, f"is {seconds:g} s and must be {least} to {_LONGEST_SECONDS} s")


def _check_range(field: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InvalidArgument(field, f"is {value} and must be from {least} to {most}")
