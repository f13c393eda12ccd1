"""The report of a bench, as JSON has it: the same for the tables, the page and programs."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from hundredfold_coordinator.trial.backlog import BATCH, ROUNDS, Backlog
from hundredfold_coordinator.trial.cost import Ceiling, Line, first_met, fit, tightest
from hundredfold_coordinator.trial.crowd import Crowd
from hundredfold_coordinator.trial.report import surroundings

FEW: Final = 1_000
MANY: Final = 100_000
BAR: Final = 1.3
"""A task beside many queued ones may cost so many times what it costs beside few."""


def bench(crowds: Sequence[Crowd], backlogs: Sequence[Backlog], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the report; `about` says how it is to be repeated."""
    lines = dict(_lines(crowds))
    ceilings = tightest(_ceilings(crowds[-1], lines))
    return {
        "kind": "bench",
        "about": {**about, **surroundings()},
        "others_cores": round(max(crowd.others_cores for crowd in crowds), 2),
        "agents": {str(crowd.wanted): _agents(crowd) for crowd in crowds},
        "costs": {name: {"base": _round(line.base), "each": _round(line.each)} for name, line in lines.items()},
        "limits": {kind: _ceiling(ceiling) for kind, ceiling in ceilings.items()},
        "limit": _limit(crowds, ceilings),
        "queue": {str(backlog.queued): _queue(backlog) for backlog in backlogs},
        "growth": _growth(backlogs),
    }


def _agents(crowd: Crowd) -> dict[str, Any]:
    plateau = crowd.plateau
    count = plateau.running
    return {
        "running": count,
        "gate": plateau.gate,
        "why": plateau.why,
        "until_running_s": _round(crowd.until_running_s),
        "started_per_s": _round(count / crowd.until_running_s),
        "until_ended_s": _round(crowd.until_ended_s),
        "memory_bytes": plateau.memory_bytes,
        "memory_each_bytes": round(plateau.memory_bytes / count),
        "start_cpu_s": _round(plateau.start_cpu_s),
        "start_cpu_each_s": _round(plateau.start_cpu_s / count),
        "starting_s": {role: _round(value) for role, value in asdict(plateau.starting_s).items()},
        "coordinator_cpu_each_s": _round(plateau.starting_s.coordinator / count),
        "idle_cores": {role: _round(value) for role, value in asdict(plateau.idle_cores).items()},
        "pss_bytes": asdict(plateau.pss_bytes),
        "descriptors": asdict(plateau.descriptors),
        "threads": plateau.threads,
        "others_cores": _round(crowd.others_cores),
    }


def _lines(crowds: Sequence[Crowd]) -> Iterator[tuple[str, Line]]:
    """Yield a line through what all crowds cost, by its name; none without two of them."""
    for name, values in _costs(crowds).items():
        line = fit((crowd.plateau.running, value) for crowd, value in zip(crowds, values, strict=True))
        if line:
            yield name, line


def _costs(crowds: Sequence[Crowd]) -> dict[str, list[float]]:
    plateaus = [crowd.plateau for crowd in crowds]
    return {
        "until_running_s": [crowd.until_running_s for crowd in crowds],
        "memory_bytes": [one.memory_bytes for one in plateaus],
        "start_cpu_s": [one.start_cpu_s for one in plateaus],
        "coordinator_cpu_s": [one.starting_s.coordinator for one in plateaus],
        "coordinator_cores": [one.idle_cores.coordinator for one in plateaus],
        "host_cores": [one.idle_cores.host for one in plateaus],
        "coordinator_descriptors": [one.descriptors.coordinator for one in plateaus],
        "host_descriptors": [one.descriptors.host for one in plateaus],
        "zygote_descriptors": [one.descriptors.zygote for one in plateaus],
        "threads": [one.threads for one in plateaus],
    }


def _ceilings(crowd: Crowd, lines: Mapping[str, Line]) -> Iterator[Ceiling]:
    """Yield what the machine has only so much of, as it was before the largest crowd."""
    if not lines:
        return
    room = crowd.room
    yield Ceiling("memory", "machine", room.memory_bytes, lines["memory_bytes"])
    for role in ("coordinator", "host"):  # each has one thread for it
        yield Ceiling("cpu", role, 1.0, lines[f"{role}_cores"])
    for role, most in room.descriptors.items():
        yield Ceiling("descriptors", role, most, lines[f"{role}_descriptors"])
    if room.processes is not None:
        own = lines["threads"]  # those that were there before are not to be made any more
        yield Ceiling("processes", "machine", room.processes + own.base, own)


def _ceiling(ceiling: Ceiling) -> dict[str, Any]:
    return {
        "agents": ceiling.agents,
        "of": ceiling.of,
        "most": _round(ceiling.most),
        "base": _round(ceiling.line.base),
        "each": _round(ceiling.line.each),
    }


def _limit(crowds: Sequence[Crowd], ceilings: Mapping[str, Ceiling]) -> dict[str, Any]:
    """Return how many agents the machine holds, and what the limit is: as it was met, else as the lines foretell."""
    last = crowds[-1]
    measured = max(crowd.plateau.running for crowd in crowds)
    if not last.is_whole:
        by, why = last.plateau.gate, last.plateau.why
        return {"agents": measured, "by": by, "why": why, "met": True, "measured": measured}
    first = first_met(ceilings)
    if first is None:
        return {"agents": None, "by": "", "met": False, "measured": measured}
    # It cannot be fewer than there were: each ceiling is where a straight line meets what was left.
    return {"agents": max(first.agents or 0, measured), "by": first.kind, "met": False, "measured": measured}


def _queue(backlog: Backlog) -> dict[str, Any]:
    return {
        "submitted_per_s": _round(backlog.queued / backlog.submit_s),
        "cpu_s": _round(statistics.fmean(backlog.cpu_s)),
        "cpu_range_s": [_round(min(backlog.cpu_s)), _round(max(backlog.cpu_s))],
        "cpu_rounds_s": [_round(value) for value in backlog.cpu_s],
        "tasks_per_s": _round(BATCH / statistics.median(backlog.batch_s)),
        "pss_bytes": backlog.pss_bytes,
    }


def _growth(backlogs: Sequence[Backlog]) -> dict[str, Any]:
    """Return how much more a task costs beside the most queued ones than beside a thousand, or the fewest."""
    few = next((one for one in backlogs if one.queued == FEW), backlogs[0])
    many = backlogs[-1]
    ratio = statistics.fmean(many.cpu_s) / statistics.fmean(few.cpu_s)  # a median would hide what comes now and then
    memory = fit((one.queued, one.pss_bytes) for one in backlogs)
    return {
        "few": few.queued,
        "many": many.queued,
        "ratio": _round(ratio),
        "memory_each_bytes": _round(memory.each) if memory else None,
        "batch": BATCH,
        "rounds": ROUNDS,
    }


def _round(value: float | None) -> float | None:
    """Keep five figures: nothing here was measured better."""
    return None if value is None else float(f"{value:.5g}")
