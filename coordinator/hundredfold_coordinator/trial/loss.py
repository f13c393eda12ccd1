"""Losses: why a task of a run has no result, and which injected fault that was the deed of. Pure."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from hundredfold_coordinator.trial.outcome import PROCESS_ENDS, Run, TaskOutcome

_PROCESS: Final = re.compile(r"process (\d+)")


class Cause(StrEnum):
    """Why a task has no result.

    A member's value is what the figures and costs of a comparison call it.
    """

    OWN_FAULT = "lost_to_own_fault"
    """A fault was injected into it, and it began; how much of its end was the fault's doing, nobody knows."""

    TAKEN_ALONG = "taken_along"
    """It waited for a process that another task's end was the end of."""

    BY_ITSELF = "failed_by_itself"
    """All the others: they failed, or their time was over, with nothing injected into what ran of them."""


class Loss(NamedTuple):
    """A task without a result: why, and the injected fault that is to answer for it; empty for none."""

    cause: Cause
    fault: str


def losses_of(run: Run) -> Iterator[Loss]:
    """Yield the losses of a run."""
    culprits = _culprits(run)
    return (_loss(task, culprits) for task in run.tasks if not task.succeeded)


def costs_of_faults(runs: Sequence[Run]) -> dict[str, dict[str, int]]:
    """Return for each fault how many tasks had it, how many of those were lost to it, and how many it took along.

    What no injected fault is to answer for is under the empty name.
    """
    costs: dict[str, Counter[str]] = {}
    for run in runs:
        for task in run.tasks:
            if task.fault:
                costs.setdefault(task.fault, Counter()).update(tasks=1)
        for loss in losses_of(run):
            costs.setdefault(loss.fault, Counter()).update([loss.cause])
    names = ("tasks", *Cause)
    return {fault: {str(name): cost[name] for name in names} for fault, cost in sorted(costs.items())}


def _loss(task: TaskOutcome, culprits: Mapping[int, str]) -> Loss:
    if task.was_dropped:  # whatever was injected into it, it was not that which ended it
        return Loss(Cause.TAKEN_ALONG, culprits.get(_process_named(task), ""))
    if task.fault and task.tries:
        return Loss(Cause.OWN_FAULT, task.fault)
    return Loss(Cause.BY_ITSELF, "")


def _culprits(run: Run) -> dict[int, str]:
    """Return the fault that ended each process, as far as one did."""
    return {
        one.pid: task.fault for task in run.tasks for one in task.tries if task.fault and one.outcome in PROCESS_ENDS
    }


def _process_named(task: TaskOutcome) -> int:
    """Return the process that a task was dropped with; 0 if it names none."""
    found = _PROCESS.search(task.message)
    return int(found.group(1)) if found else 0
