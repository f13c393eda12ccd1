"""Whether a task is tried again, and after how long: its retry policy, applied to how its attempts have ended.

See also: `proto/hundredfold/v1/policy.proto`, which says what a policy means.
"""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Final, TypeAlias

from google.protobuf.duration_pb2 import Duration
from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import attempt_pb2, policy_pb2, task_pb2

RAISED: Final = policy_pb2.RETRY_CAUSE_RAISED
CRASHED: Final = policy_pb2.RETRY_CAUSE_CRASHED
MEMORY: Final = policy_pb2.RETRY_CAUSE_MEMORY
TIMED_OUT: Final = policy_pb2.RETRY_CAUSE_TIMED_OUT
EVICTED: Final = policy_pb2.RETRY_CAUSE_EVICTED
HOST_LOST: Final = policy_pb2.RETRY_CAUSE_HOST_LOST
CONFLICT: Final = policy_pb2.RETRY_CAUSE_CONFLICT

CAUSES: Final = MappingProxyType(
    {
        attempt_pb2.ATTEMPT_OUTCOME_RAISED: RAISED,
        attempt_pb2.ATTEMPT_OUTCOME_EXITED: CRASHED,
        attempt_pb2.ATTEMPT_OUTCOME_SIGNALLED: CRASHED,
        attempt_pb2.ATTEMPT_OUTCOME_OOM_KILLED: MEMORY,
        attempt_pb2.ATTEMPT_OUTCOME_TIMED_OUT: TIMED_OUT,
        attempt_pb2.ATTEMPT_OUTCOME_FENCED: TIMED_OUT,
        attempt_pb2.ATTEMPT_OUTCOME_EVICTED: EVICTED,
        attempt_pb2.ATTEMPT_OUTCOME_HOST_LOST: HOST_LOST,
        attempt_pb2.ATTEMPT_OUTCOME_LAUNCH_FAILED: HOST_LOST,
        attempt_pb2.ATTEMPT_OUTCOME_CONFLICT: CONFLICT,
    }
)
"""For every outcome after which a task can be tried again, the cause. The other ones would only be repeated."""

OWN_CAUSES: Final = frozenset({RAISED, CRASHED, MEMORY, TIMED_OUT})
"""Those that are the task's own doing."""

DEFAULT_ATTEMPTS: Final = MappingProxyType(
    {RAISED: 1, CRASHED: 3, MEMORY: 3, TIMED_OUT: 1, EVICTED: 10, HOST_LOST: 10, CONFLICT: 100}
)
"""How many attempts may end by a cause, if the policy does not say."""

QUARANTINE_DEATHS: Final = 10
"""How many processes a task may end, whatever its policy says, before it is not let near another one."""

SUSPECT_LOSSES: Final = 2
"""From this number of lost hosts on, a task may be why."""

_DEADLY: Final = frozenset({CRASHED, MEMORY, HOST_LOST})
_INITIAL_SECONDS: Final = 1.0
_MULTIPLIER: Final = 2.0
_MAX_SECONDS: Final = 60.0
_CONFLICT_INITIAL_SECONDS: Final = 0.05
_CONFLICT_MAX_SECONDS: Final = 2.0
"""Who comes too late for a session has lost nothing by waiting but time, and there is one winner in every round."""

Cause: TypeAlias = policy_pb2.RetryCause.ValueType
DeadLetterCause: TypeAlias = task_pb2.DeadLetterCause.ValueType


def judge(record: records_pb2.TaskRecord, failure: attempt_pb2.Failure) -> DeadLetterCause | None:
    """Return why a task is not tried again after its newest attempt; None if it is."""
    cause = CAUSES.get(failure.outcome)
    policy = record.task.spec.retry
    if cause is None or failure.non_retryable or failure.type in policy.non_retryable_types:
        return task_pb2.DEAD_LETTER_CAUSE_NON_RETRYABLE
    ended = _causes(record)
    if sum(one in _DEADLY for one in ended) >= QUARANTINE_DEATHS:
        return task_pb2.DEAD_LETTER_CAUSE_QUARANTINED
    limit, counted = _bound(policy, cause)
    if sum(one in counted for one in ended) >= limit:
        return task_pb2.DEAD_LETTER_CAUSE_RETRIES_EXHAUSTED
    return None


def wait_seconds(record: records_pb2.TaskRecord, cause: Cause, chance: float) -> float:
    """Return how long the next attempt waits; `chance`, from 0 to 1, makes it random."""
    policy = record.task.spec.retry
    _, counted = _bound(policy, cause)
    failed = sum(one in counted for one in _causes(record))
    if cause not in OWN_CAUSES:
        failed -= 1  # the first time nothing speaks against trying again at once
    if failed < 1:
        return 0
    rule = _rule(policy, cause)
    if cause == CONFLICT and not (rule and rule.HasField("backoff")):
        backoff, initial, longest = policy_pb2.Backoff(), _CONFLICT_INITIAL_SECONDS, _CONFLICT_MAX_SECONDS
    else:
        backoff = rule.backoff if rule and rule.HasField("backoff") else policy.backoff
        initial = _seconds(backoff.initial) if backoff.HasField("initial") else _INITIAL_SECONDS
        longest = _seconds(backoff.max) if backoff.HasField("max") else _MAX_SECONDS
    multiplier = backoff.multiplier or _MULTIPLIER
    try:
        return chance * min(longest, initial * multiplier ** (failed - 1))
    except OverflowError:
        return chance * longest


def may_be_evicted(record: records_pb2.TaskRecord) -> bool:
    """Whether a task would be tried again if its next attempt were evicted."""
    limit, _ = _bound(record.task.spec.retry, EVICTED)
    return sum(one == EVICTED for one in _causes(record)) + 1 < limit


def losses(record: records_pb2.TaskRecord) -> int:
    """Return how often a task was there when its host was lost."""
    attempts = record.task.attempts[record.pardoned_attempts :]
    return sum(attempt.outcome == attempt_pb2.ATTEMPT_OUTCOME_HOST_LOST for attempt in attempts)


def _causes(record: records_pb2.TaskRecord) -> Sequence[Cause]:
    """Return the causes of the attempts that count."""
    attempts = record.task.attempts[record.pardoned_attempts :]
    return [CAUSES[attempt.outcome] for attempt in attempts if attempt.outcome in CAUSES]


def _bound(policy: policy_pb2.RetryPolicy, cause: Cause) -> tuple[int, frozenset[Cause]]:
    """Return how many attempts may end by which causes."""
    rule = _rule(policy, cause)
    if rule:
        return rule.max_attempts, frozenset({cause})
    if policy.max_attempts and cause in OWN_CAUSES:
        return policy.max_attempts, OWN_CAUSES - {rule.cause for rule in policy.rules}
    return DEFAULT_ATTEMPTS[cause], frozenset({cause})


def _rule(policy: policy_pb2.RetryPolicy, cause: Cause) -> policy_pb2.RetryRule | None:
    return next((rule for rule in policy.rules if rule.cause == cause), None)


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9
