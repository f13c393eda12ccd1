"""Shows when a task is tried again, and after how long, for every cause and every way to say so."""

from typing import Any

import pytest
from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import attempt_pb2, policy_pb2, task_pb2
from hundredfold_coordinator.core import retry

EXHAUSTED = task_pb2.DEAD_LETTER_CAUSE_RETRIES_EXHAUSTED
NON_RETRYABLE = task_pb2.DEAD_LETTER_CAUSE_NON_RETRYABLE
QUARANTINED = task_pb2.DEAD_LETTER_CAUSE_QUARANTINED


def record(*outcomes: str, pardoned: int = 0, **policy: Any) -> records_pb2.TaskRecord:
    """Return a task whose attempts have ended so."""
    found = records_pb2.TaskRecord(pardoned_attempts=pardoned)
    found.task.spec.retry.CopyFrom(policy_pb2.RetryPolicy(**policy))
    for outcome in outcomes:
        found.task.attempts.add(outcome=attempt_pb2.AttemptOutcome.Value(f"ATTEMPT_OUTCOME_{outcome}"))
    return found


def judged(found: records_pb2.TaskRecord, **failure: Any) -> task_pb2.DeadLetterCause.ValueType | None:
    """Judge a task after its newest attempt."""
    return retry.judge(found, attempt_pb2.Failure(outcome=found.task.attempts[-1].outcome, **failure))


@pytest.mark.parametrize(
    ("outcome", "attempts"),
    [
        ("RAISED", 1),
        ("TIMED_OUT", 1),
        ("FENCED", 1),
        ("EXITED", 3),
        ("SIGNALLED", 3),
        ("OOM_KILLED", 3),
        ("EVICTED", 10),
    ],
)
def test_every_cause_has_its_own_number(outcome: str, attempts: int) -> None:
    if attempts > 1:
        assert judged(record(*[outcome] * (attempts - 1))) is None
    assert judged(record(*[outcome] * attempts)) == EXHAUSTED


@pytest.mark.parametrize("outcome", ["HOST_LOST", "LAUNCH_FAILED", "SIGNALLED", "OOM_KILLED"])
def test_what_ends_ten_processes_is_quarantined_whatever_its_policy_says(outcome: str) -> None:
    policy = {"rules": [policy_pb2.RetryRule(cause=cause, max_attempts=1000) for cause in range(1, 7)]}
    assert judged(record(*[outcome] * 9, **policy)) is None
    assert judged(record(*[outcome] * 10, **policy)) == QUARANTINED


@pytest.mark.parametrize("outcome", ["INVALID_INPUT", "PROTOCOL_VIOLATION"])
def test_what_would_only_be_repeated_is_not_tried_again(outcome: str) -> None:
    assert judged(record(outcome, max_attempts=9)) == NON_RETRYABLE


def test_a_failure_that_says_so_is_not_tried_again() -> None:
    assert judged(record("RAISED", max_attempts=9)) is None
    assert judged(record("RAISED", max_attempts=9), non_retryable=True) == NON_RETRYABLE
    assert judged(record("RAISED", max_attempts=9, non_retryable_types=["KeyError"]), type="KeyError") == NON_RETRYABLE
    assert judged(record("RAISED", max_attempts=9, non_retryable_types=["KeyError"]), type="ValueError") is None


def test_one_number_counts_all_that_is_the_tasks_own_doing() -> None:
    assert judged(record("RAISED", "SIGNALLED", max_attempts=3)) is None
    assert judged(record("RAISED", "SIGNALLED", "TIMED_OUT", max_attempts=3)) == EXHAUSTED
    assert judged(record("HOST_LOST", "EVICTED", "DRAINED", "RAISED", max_attempts=2)) is None


def test_a_rule_takes_its_cause_out_of_that_number() -> None:
    rules = [policy_pb2.RetryRule(cause=retry.CRASHED, max_attempts=4)]
    assert judged(record("SIGNALLED", "SIGNALLED", "RAISED", max_attempts=2, rules=rules)) is None
    assert judged(record("SIGNALLED", "RAISED", "RAISED", max_attempts=2, rules=rules)) == EXHAUSTED
    assert judged(record("RAISED", "SIGNALLED", "SIGNALLED", "SIGNALLED", max_attempts=2, rules=rules)) is None
    assert judged(record(*["SIGNALLED"] * 4, max_attempts=2, rules=rules)) == EXHAUSTED


def test_what_is_pardoned_does_not_count() -> None:
    assert judged(record("SIGNALLED", "SIGNALLED", "SIGNALLED", "SIGNALLED", pardoned=3)) is None
    assert retry.losses(record("HOST_LOST", "HOST_LOST", "HOST_LOST", pardoned=2)) == 1


def waits(outcome: str, number: int, *, chance: float = 1.0, **policy: Any) -> list[float]:
    """Return the waits after each of the first attempts, of which every one ended so."""
    cause = retry.CAUSES[attempt_pb2.AttemptOutcome.Value(f"ATTEMPT_OUTCOME_{outcome}")]
    return [retry.wait_seconds(record(*[outcome] * n, **policy), cause, chance) for n in range(1, number + 1)]


def test_waits_double_up_to_a_minute() -> None:
    assert waits("SIGNALLED", 8) == [1, 2, 4, 8, 16, 32, 60, 60]


def test_waits_are_random_from_zero_to_the_whole() -> None:
    assert waits("SIGNALLED", 2, chance=0.0) == [0, 0]
    assert waits("SIGNALLED", 2, chance=0.25) == [0.25, 0.5]


def test_the_first_time_a_host_is_lost_nothing_is_waited_for() -> None:
    assert waits("HOST_LOST", 4) == [0, 1, 2, 4]
    assert waits("EVICTED", 2) == [0, 1]


def test_a_policy_sets_the_waits_and_a_rule_those_of_its_cause() -> None:
    backoff = policy_pb2.Backoff(multiplier=3)
    backoff.initial.FromSeconds(2)
    backoff.max.FromSeconds(20)
    assert waits("SIGNALLED", 4, backoff=backoff) == [2, 6, 18, 20]
    none = policy_pb2.Backoff()
    none.initial.FromSeconds(0)
    rule = policy_pb2.RetryRule(cause=retry.CRASHED, max_attempts=9, backoff=none)
    assert waits("SIGNALLED", 2, backoff=backoff, rules=[rule]) == [0, 0]
    assert waits("RAISED", 2, backoff=backoff, rules=[rule]) == [2, 6]


def test_no_number_of_attempts_is_too_large_for_a_wait() -> None:
    assert waits("RAISED", 1200)[-1] == 60


def test_the_last_one_that_would_be_tried_again_is_known() -> None:
    assert retry.may_be_evicted(record(*["EVICTED"] * 8))
    assert not retry.may_be_evicted(record(*["EVICTED"] * 9))
    rules = [policy_pb2.RetryRule(cause=retry.EVICTED, max_attempts=2)]
    assert retry.may_be_evicted(record("RAISED", rules=rules))
    assert not retry.may_be_evicted(record("EVICTED", rules=rules))


def test_who_is_evicted_again_and_again_waits_a_little_longer_each_time() -> None:
    assert waits("EVICTED", 5) == [0, 1, 2, 4, 8]
