"""Names of the alarms that decisions set: one of each for a task or an attempt, so that none rings for what is over."""

from hundredfold_coordinator.core.effects import AlarmKey
from hundredfold_coordinator.core.state import AttemptId


def ready(task_id: str) -> AlarmKey:
    """A waiting task may start."""
    return "ready", task_id


def start(task_id: str) -> AlarmKey:
    """A task should have started."""
    return "start", task_id


def close(task_id: str) -> AlarmKey:
    """A task should have ended."""
    return "close", task_id


def attempt(key: AttemptId) -> AlarmKey:
    """A worker should be gone."""
    return "attempt", *key


def drop(task_id: str) -> AlarmKey:
    """More of those may be dropped that waited for the agent that was made for a task."""
    return "drop", task_id


def host(host_id: str) -> AlarmKey:
    """A host that could make no process may try again."""
    return "host", host_id
