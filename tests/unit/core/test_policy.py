"""Shows what a task may ask for, and what holds where it asks for nothing."""

from typing import Any

import pytest
from google.protobuf import text_format
from hundredfold import Limits as Wish
from hundredfold import Retry
from hundredfold.errors import InvalidArgument
from hundredfold.v1 import behaviour_pb2, policy_pb2, task_pb2
from hundredfold_coordinator.core import policy
from hundredfold_coordinator.core.state import Limits

LIMITS = Limits(wall_limit_seconds=60, process_limit=50)


def in_words(text: str) -> task_pb2.TaskSpec:
    """Return a spec written as text."""
    return text_format.Parse(text, task_pb2.TaskSpec())


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("spec.priority", "priority: 101"),
        ("spec.priority", "priority: -101"),
        ("spec.schedule_to_start_timeout", "schedule_to_start_timeout {}"),
        ("spec.schedule_to_close_timeout", "schedule_to_close_timeout { seconds: -1 }"),
        ("spec.schedule_to_close_timeout", "schedule_to_close_timeout { seconds: 99999999 }"),
        (
            "spec.schedule_to_start_timeout",
            "schedule_to_start_timeout { seconds: 9 } schedule_to_close_timeout { seconds: 8 }",
        ),
        ("spec.tenant", f"tenant: '{'x' * 201}'"),
        ("spec.tenant", r"tenant: 'a\nb'"),
        ("spec.session", r"session: 'a\033[2Jb'"),
        ("spec.session", r"session: 'a\000b'"),
        ("spec.session_policy", "session_policy: 99"),
        ("spec.session_policy", "session_policy: SESSION_POLICY_REJECT"),
        ("spec.not_before", "not_before { seconds: -5 }"),
        ("spec.not_before", "not_before { seconds: 1099511627776 }"),
        ("spec.not_before", "not_before { nanos: 1000000000 }"),
        ("spec.limits.wall_time", "limits { wall_time { seconds: -1 } }"),
        ("spec.limits.wall_time", "limits { wall_time { nanos: 2000000000 } }"),
        ("spec.limits.memory_bytes", "limits { memory_bytes: 1 }"),
        ("spec.limits.processes", "limits { processes: -1 }"),
        ("spec.retry.max_attempts", "retry { max_attempts: -1 }"),
        ("spec.retry.max_attempts", "retry { max_attempts: 1001 }"),
        ("spec.retry.backoff.multiplier", "retry { backoff { multiplier: 0.5 } }"),
        ("spec.retry.backoff.multiplier", "retry { backoff { multiplier: nan } }"),
        ("spec.retry.backoff.initial", "retry { backoff { initial { seconds: -1 } } }"),
        ("spec.retry.backoff.max", "retry { backoff { max { seconds: 99999999 } } }"),
        ("spec.retry.rules[0].cause", "retry { rules { max_attempts: 1 } }"),
        ("spec.retry.rules[0].cause", "retry { rules { cause: 99 max_attempts: 1 } }"),
        ("spec.retry.rules[0].max_attempts", "retry { rules { cause: RETRY_CAUSE_RAISED } }"),
        ("spec.retry.rules", "retry { rules { cause: 1 max_attempts: 1 } rules { cause: 1 max_attempts: 1 } }"),
        (
            "spec.retry.rules[0].backoff.max",
            "retry { rules { cause: 1 max_attempts: 1 backoff { max { seconds: -1 } } } }",
        ),
        ("spec.retry.non_retryable_types", "retry { " + "non_retryable_types: 'x' " * 51 + "}"),
        ("spec.retry.non_retryable_types[0]", "retry { non_retryable_types: '' }"),
    ],
)
def test_what_is_out_of_range_is_refused_by_its_name(field: str, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        policy.check(in_words(text))
    assert caught.value.field == field


def test_a_length_is_said_to_be_one() -> None:
    with pytest.raises(InvalidArgument, match=r"`spec\.tenant` has 300 characters and may have 200"):
        policy.check(task_pb2.TaskSpec(tenant="x" * 300))


def test_what_is_in_range_is_let_through() -> None:
    policy.check(in_words("session_policy: SESSION_POLICY_ENQUEUE"))
    policy.check(in_words("session: 's' session_policy: SESSION_POLICY_REJECT"))
    found = task_pb2.TaskSpec(priority=100, tenant="Großkunde 1", session="x" * 200)
    found.retry.CopyFrom(Retry(max_attempts=5, causes={"crashed": 7}, non_retryable=(KeyError, "Odd")).message())
    found.limits.CopyFrom(Wish(wall_seconds=1.5, memory_bytes=1 << 30, processes=4).message())
    found.not_before.GetCurrentTime()
    policy.check(found)
    policy.check(task_pb2.TaskSpec())


def filled(wish: Wish | None, declared: Wish | None, **retry: Any) -> task_pb2.TaskSpec:
    """Return what holds for a task."""
    found = task_pb2.TaskSpec(limits=wish.message() if wish else None)
    behaviour = behaviour_pb2.Behaviour(limits=declared.message() if declared else None, **retry)
    policy.fill_in(found, behaviour, LIMITS)
    return found


def test_the_task_comes_before_the_behaviour_and_that_before_the_coordinator() -> None:
    assert filled(None, None).limits == Wish(wall_seconds=60, processes=50).message()
    assert filled(None, Wish(wall_seconds=5)).limits == Wish(wall_seconds=5, processes=50).message()
    both = filled(Wish(wall_seconds=7, memory_bytes=1 << 31), Wish(wall_seconds=5, memory_bytes=1 << 30, processes=3))
    assert both.limits == Wish(wall_seconds=7, memory_bytes=1 << 31, processes=3).message()


def test_a_coordinator_without_limits_sets_none() -> None:
    found = task_pb2.TaskSpec()
    policy.fill_in(found, behaviour_pb2.Behaviour(), Limits(wall_limit_seconds=0, process_limit=0))
    assert found.limits == policy_pb2.Limits()


def test_a_retry_policy_holds_as_a_whole() -> None:
    declared = Retry(max_attempts=5).message()
    assert filled(None, None, retry=declared).retry == declared
    found = task_pb2.TaskSpec(retry=policy_pb2.RetryPolicy(max_attempts=2))
    policy.fill_in(found, behaviour_pb2.Behaviour(retry=declared), LIMITS)
    assert found.retry == policy_pb2.RetryPolicy(max_attempts=2)


def test_a_cause_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="there are: raised, crashed"):
        Retry(causes={"tired": 2}).message()
