"""The life of a task: its states and the legal ways between them."""

from types import MappingProxyType
from typing import Final

from hundredfold.v1 import task_pb2

QUEUED: Final = task_pb2.TASK_STATE_QUEUED
LAUNCHING: Final = task_pb2.TASK_STATE_LAUNCHING
RUNNING: Final = task_pb2.TASK_STATE_RUNNING
SUCCEEDED: Final = task_pb2.TASK_STATE_SUCCEEDED
FAILED: Final = task_pb2.TASK_STATE_FAILED
CANCELLED: Final = task_pb2.TASK_STATE_CANCELLED
EXPIRED: Final = task_pb2.TASK_STATE_EXPIRED

ENDED: Final = frozenset({SUCCEEDED, FAILED, CANCELLED, EXPIRED})
"""States in which a task has no process to come, unless somebody has it tried again."""

RETRIABLE: Final = frozenset({FAILED, CANCELLED, EXPIRED})
"""States from which somebody can have a task tried again. A result that is recorded stays the only one."""

TRANSITIONS: Final = MappingProxyType(
    {
        # A worker that stays needs no launch; what waited for one that has died fails.
        QUEUED: frozenset({LAUNCHING, RUNNING, FAILED, CANCELLED, EXPIRED}),
        # A worker can take its task before the host has reported its launch, but never without LAUNCHING.
        LAUNCHING: frozenset({RUNNING, QUEUED, FAILED, CANCELLED, EXPIRED}),
        RUNNING: frozenset({SUCCEEDED, FAILED, CANCELLED, EXPIRED, QUEUED}),
        SUCCEEDED: frozenset(),
        FAILED: frozenset({QUEUED}),
        CANCELLED: frozenset({QUEUED}),
        EXPIRED: frozenset({QUEUED}),
    }
)
"""For every state, the states that may follow."""


class IllegalTransition(Exception):  # a defect of this program, not an error of the API
    """A state was about to follow another that it may not follow."""


def check(before: task_pb2.TaskState.ValueType, after: task_pb2.TaskState.ValueType) -> None:
    """Raise `IllegalTransition` unless `after` may follow `before`."""
    if after not in TRANSITIONS[before]:
        name = task_pb2.TaskState.Name
        raise IllegalTransition(f"{name(before)} -> {name(after)}")
