"""The report of a comparison, as JSON has it: the same for the table, the page and programs."""

import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import psutil

from hundredfold_coordinator.trial.figures import figures_of
from hundredfold_coordinator.trial.loss import costs_of_faults
from hundredfold_coordinator.trial.outcome import Run
from hundredfold_coordinator.trial.yardstick import Yardstick


def comparison(runs: Sequence[Run], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the report of some runs; `about` says what they were of, and how they are to be repeated."""
    by_strategy: dict[str, list[Run]] = {}
    for run in runs:
        by_strategy.setdefault(run.strategy, []).append(run)
    yardstick = Yardstick.of(runs)
    figures = {name: figures_of(own, yardstick).as_dict() for name, own in by_strategy.items()}
    fewest = min(one["lost"] for one in figures.values())
    return {
        "kind": "comparison",
        "about": {**about, **surroundings()},
        "others_cores": round(max(run.others_cores for run in runs), 2),
        "strategies": {
            name: {
                "figures": {**found, "lost_more": found["lost"] - fewest},
                "faults": costs_of_faults(by_strategy[name]),
            }
            for name, found in figures.items()
        },
        "runs": [_run(run) for run in runs],
    }


def surroundings() -> dict[str, Any]:
    """Return what a figure is worth nothing without: the machine, and the versions of what ran on it."""
    memory = psutil.virtual_memory()
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpus": psutil.cpu_count() or 0,
            "memory_bytes": memory.total,
            "kernel": platform.release(),
            "processor": _processor(),
        },
        "versions": {"hundredfold": metadata.version("hundredfold"), "python": sys.version.split()[0]},
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123  # a file of the kernel
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.machine()


def _run(run: Run) -> dict[str, Any]:
    return {
        "strategy": run.strategy,
        "repeat": run.repeat,
        "makespan_s": round(run.makespan_s, 4),
        "cpu_s": round(run.cpu_s, 3),
        "samples": [[one.at_s, one.memory_bytes, one.cores] for one in run.samples],
        "tasks": [_rounded(asdict(task)) for task in run.tasks],
    }


def _rounded(task: dict[str, Any]) -> dict[str, Any]:
    task["tries"] = [{name: _round(one) for name, one in each.items()} for each in task["tries"]]
    return {name: _round(value) for name, value in task.items()}


def _round(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value
