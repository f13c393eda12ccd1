"""Runs made by hand, whose figures are known."""

from typing import Any

from hundredfold_coordinator.trial.outcome import Run, Sample, TaskOutcome, Try
from hundredfold_coordinator.trial.report import comparison

GIB = 1 << 30


def task(index: int, **fields: Any) -> TaskOutcome:
    """Return a task that waited for a second, ran for two in process 100, and has its own result."""
    given: dict[str, Any] = {
        "fault": "",
        "state": "SUCCEEDED",
        "submitted_s": 0.0,
        "ended_s": 3.0,
        "tries": (Try(1.0, 3.0, "COMPLETED", 100),),
        "digest": f"d{index}",
    }
    return TaskOutcome(index=index, **{**given, **fields})


def lost(index: int, fault: str = "", *, outcome: str = "SIGNALLED", pid: int = 100, **fields: Any) -> TaskOutcome:
    """Return a task whose only attempt ended like that after three seconds."""
    given: dict[str, Any] = {"state": "FAILED", "failure": outcome, "digest": ""}
    return task(index, fault=fault, tries=(Try(1.0, 3.0, outcome, pid),), **{**given, **fields})


def dropped(index: int, pid: int = 100, **fields: Any) -> TaskOutcome:
    """Return a task that waited for an agent whose process is gone."""
    message = f"it waited for agent 3, process {pid}, which is gone: SIGKILL"
    return task(index, state="FAILED", failure="DROPPED", message=message, tries=(), digest="", **fields)


def run(*tasks: TaskOutcome, strategy: str = "fresh", repeat: int = 1, **fields: Any) -> Run:
    """Return a run that used one GiB for a second, and two for another one."""
    samples = (Sample(1.0, GIB, 0.5), Sample(2.0, 2 * GIB, 1.5))
    return Run(strategy, repeat, tasks, **{"samples": samples, "cpu_s": 2.0, **fields})


def report(*runs: Run, **about: Any) -> dict[str, Any]:
    """Return the report of some runs."""
    given = {
        "behaviour": "work",
        "input": "lines.jsonl",
        "tasks": len(runs[0].tasks),
        "repeat": max(one.repeat for one in runs),
        "inject": "",
        "seed": 0,
        "command": "hundredfold compare work -i lines.jsonl",
        "directory": "/srv/work",
        "settings": [],
        "notes": {"workers": "8"},
    }
    return comparison(runs, {**given, **about})
