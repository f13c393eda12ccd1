"""What a bench says of what was measured: costs, limits, growth; and that page and JSON agree."""

import html
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hundredfold_coordinator.trial.backlog import Backlog
from hundredfold_coordinator.trial.bench_page import bench_page
from hundredfold_coordinator.trial.bench_report import bench
from hundredfold_coordinator.trial.bench_rows import growth, guess, headline
from hundredfold_coordinator.trial.crowd import Crowd, Plateau, Room, Uses

MIB = 2**20
ABOUT: dict[str, Any] = {"command": "hundredfold bench", "directory": "/srv", "settings": []}
ROOM = Room(2000 * MIB, {"coordinator": 1020, "host": 3026, "zygote": 5000}, 10_000)


def crowd(count: int, wanted: int = 0, gate: str = "", room: Room = ROOM) -> Crowd:
    """Agents of 4 MiB, each with one descriptor of the coordinator and three of the host."""
    plateau = Plateau(
        running=count,
        gate=gate,
        why="1 GiB is free" if gate else "",
        start_cpu_s=0.5 + count / 100,
        starting_s=Uses(count / 500, count / 1000, count / 1000),
        memory_bytes=4 * MIB * count,
        idle_cores=Uses(0.005 + count / 1e5, 0.01 + count / 1e4, 0),
        pss_bytes=Uses(40 * MIB, 30 * MIB, 20 * MIB),
        descriptors=Uses(20 + count, 26 + 3 * count, 10),
        threads=12 + count,
    )
    return Crowd(wanted or count, plateau, 0.1 + count / 200, None if wanted else 0.2, 0.25, room)


def backlog(queued: int, *cpu_s: float) -> Backlog:
    return Backlog(queued, queued / 5000, 40 * MIB + 1000 * queued, list(cpu_s), [0.5] * len(cpu_s))


BACKLOGS = [backlog(10, 0.001), backlog(1000, 0.001, 0.002, 0.0012), backlog(100_000, 0.003, 0.0015, 0.0014)]


def made(*crowds: Crowd) -> dict[str, Any]:
    return bench(crowds or [crowd(1), crowd(10), crowd(100)], BACKLOGS, ABOUT)


def test_costs_are_those_of_one_more_agent() -> None:
    costs = made()["costs"]
    assert costs["memory_bytes"]["each"] == pytest.approx(4 * MIB, rel=1e-4)
    assert costs["start_cpu_s"] == {"base": 0.5, "each": 0.01}
    assert (costs["host_descriptors"]["each"], costs["coordinator_descriptors"]["each"]) == (3, 1)
    assert costs["threads"]["each"] == 1


def test_every_limit_is_told_and_the_first_is_the_machines() -> None:
    report = made()
    found = {kind: (limit["agents"], limit["of"]) for kind, limit in report["limits"].items()}
    assert found == {
        "memory": (500, "machine"),
        "cpu": (9900, "host"),
        "descriptors": (1000, "coordinator"),
        "processes": (10_000, "machine"),
    }
    assert report["limit"] == {"agents": 500, "by": "memory", "met": False, "measured": 100}
    assert headline(report) == "This machine holds about 500 such agents at once; memory is the limit"
    assert guess(report) == "Measured with up to 100; beyond that it is a straight line drawn on."


@pytest.mark.parametrize(
    ("room", "limit"),
    [
        (replace(ROOM, memory_bytes=10**12), "open files are"),
        (replace(ROOM, memory_bytes=10**12, descriptors={}, processes=700), "processes are"),
        (replace(ROOM, memory_bytes=10**12, descriptors={}, processes=None), "CPU is"),
    ],
)
def test_another_machine_has_another_limit(room: Room, limit: str) -> None:
    report = made(crowd(1, room=room), crowd(100, room=room))
    assert headline(report).endswith(f"; {limit} the limit")


def test_a_limit_that_was_met_counts_more_than_a_foretold_one() -> None:
    report = made(crowd(1), crowd(10), crowd(17, wanted=20, gate="MEMORY"))
    assert report["limit"] == {
        "agents": 17,
        "by": "MEMORY",
        "why": "1 GiB is free",
        "met": True,
        "measured": 17,
    }
    assert report["agents"]["20"]["running"] == 17
    assert report["agents"]["20"]["until_ended_s"] is None
    assert headline(report) == "This machine holds 17 such agents at once; MEMORY held the others"
    assert guess(report) == "One of those waited because 1 GiB is free."


@pytest.mark.parametrize(("memory_mib", "agents"), [(380, 100), (417, 104)])
def test_a_machine_holds_no_fewer_than_it_held(memory_mib: int, agents: int) -> None:
    """A line may meet its limit below what was measured, and two figures of a number are fewer than that."""
    report = made(*(crowd(count, room=replace(ROOM, memory_bytes=memory_mib * MIB)) for count in (1, 10, 100)))
    assert report["limit"] == {"agents": agents, "by": "memory", "met": False, "measured": 100}
    assert headline(report) == "This machine holds about 100 such agents at once; memory is the limit"


def test_two_figures_are_no_fewer_than_were_measured() -> None:
    report = made(*(crowd(count, room=replace(ROOM, memory_bytes=457 * MIB)) for count in (1, 10, 113)))
    assert (report["limit"]["agents"], report["limit"]["measured"]) == (114, 113)
    assert headline(report).startswith("This machine holds about 113 such")


def test_one_crowd_makes_no_line_and_no_limit() -> None:
    report = made(crowd(1))
    assert (report["costs"], report["limits"], report["limit"]["agents"]) == ({}, {}, None)
    assert "nothing was seen to end that" in headline(report)


def test_growth_counts_what_comes_now_and_then() -> None:
    report = made()
    assert report["queue"]["1000"]["cpu_s"] == 0.0014
    assert report["queue"]["100000"]["cpu_range_s"] == [0.0014, 0.003]
    assert report["growth"]["ratio"] == 1.4048
    assert growth(report) == (
        "A task costs the coordinator 1.40 times as much beside 100,000 queued ones as beside 1,000 "
        "(up to 1.3 times is what is aimed at); each of these takes 1000 B of its memory."
    )


def test_with_fewer_queued_the_aim_is_not_spoken_of() -> None:
    report = bench([crowd(1)], BACKLOGS[:2], ABOUT)
    assert (report["growth"]["few"], report["growth"]["many"]) == (1000, 1000)
    assert growth(report) == ""
    few = bench([crowd(1)], [BACKLOGS[0], backlog(100, 0.002)], ABOUT)
    assert growth(few).startswith(
        "A task costs the coordinator 2.00 times as much beside 100 queued ones as beside 10;"
    )


def test_numbers_on_the_page_are_those_of_the_report() -> None:
    report = made()
    text = bench_page(report, {"crowd": "<svg/>", "limits": "<svg/>", "queue": "<svg/>"})
    cells = re.findall(r'data-key="([^"]+)" data-value="([^"]+)"', text)
    assert {key.split(".")[0] for key, _ in cells} == {"agents", "queue", "limits", "costs"}
    for key, value in cells:
        found: Any = report
        for name in key.split("."):
            found = found[name]
        assert json.loads(html.unescape(value)) == found, key
    (inside,) = re.findall(r'<script type="application/json" id="report">(.*)</script>', text)
    assert json.loads(inside) == report
