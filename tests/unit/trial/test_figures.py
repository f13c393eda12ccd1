"""Shows the figures of a comparison, on runs made by hand."""

import json

import pytest
from hundredfold_coordinator.trial.figures import figures_of, percentiles, sessions_lost
from hundredfold_coordinator.trial.outcome import Run, Sample, Try
from hundredfold_coordinator.trial.yardstick import Yardstick
from made_runs import GIB, dropped, lost, run, task


def figures(*runs: Run) -> dict[str, object]:
    return figures_of(runs, Yardstick.of(runs)).as_dict()


# Times and amounts ----------------------------------------------------------------------------------------------------


def test_the_figures_of_one_run() -> None:
    found = figures(
        run(task(0), task(1, ended_s=5.0, tries=(Try(1.0, 2.0, "RAISED", 1), Try(4.0, 5.0, "COMPLETED", 2))))
    )
    assert found == {
        "runs": 1,
        "tasks": 2,
        "makespan_s": 5.0,
        "makespan_range_s": [5.0, 5.0],
        "tasks_per_s": 0.4,
        "latency_s": {"p50": 3.0, "p90": 5.0, "p99": 5.0},
        "waiting_s": {"p50": 1.0, "p90": 3.0, "p99": 3.0},
        "running_s": {"p50": 2.0, "p90": 2.0, "p99": 2.0},
        "peak_memory_bytes": 2 * GIB,
        "memory_gib_s": 3.0,
        "peak_cores": 1.5,
        "cpu_s": 2.0,
        "succeeded": 2,
        "lost": 0,
        "lost_by": {},
        "lost_to_own_fault": 0,
        "taken_along": 0,
        "failed_by_itself": 0,
        "innocents": 2,
        "innocents_affected": 0,
        "innocents_late": 0,
        "contaminated": 0,
        "sessions_lost": 0,
        "outputs_compared": 0,
        "outputs_differ": None,
    }
    assert json.loads(json.dumps(found)) == found


def test_counts_of_several_runs_are_sums_and_times_are_medians() -> None:
    runs = [
        run(task(0, ended_s=ended), lost(1, "crash"), repeat=number, cpu_s=cpu)
        for number, (ended, cpu) in enumerate([(4.0, 1.0), (8.0, 9.0), (5.0, 2.0)], start=1)
    ]
    found = figures(*runs)
    assert (found["runs"], found["tasks"], found["succeeded"], found["lost"]) == (3, 6, 3, 3)
    assert (found["makespan_s"], found["makespan_range_s"], found["cpu_s"]) == (5.0, [4.0, 8.0], 2.0)
    assert found["tasks_per_s"] == 0.2
    assert found["latency_s"] == {"p50": 5.0, "p90": 8.0, "p99": 8.0}


def test_without_any_result_there_is_no_latency_and_no_rate() -> None:
    found = figures(run(lost(0), samples=()))
    assert (found["latency_s"], found["tasks_per_s"], found["peak_memory_bytes"], found["peak_cores"]) == ({}, 0, 0, 0)


def test_a_run_that_took_no_time_has_no_rate() -> None:
    assert figures(run(task(0, ended_s=0.0, tries=())))["tasks_per_s"] == 0


def test_memory_by_time_counts_each_sample_until_the_one_before() -> None:
    samples = (Sample(0.5, GIB, 0), Sample(2.5, 3 * GIB, 0))
    assert figures(run(task(0), samples=samples))["memory_gib_s"] == 6.5


@pytest.mark.parametrize("count", [1, 2, 10, 99, 100, 101, 1000])
def test_percentiles_are_by_nearest_rank(count: int) -> None:
    wanted = {f"p{share}": -(-share * count // 100) for share in (50, 90, 99)}
    assert percentiles(map(float, range(count, 0, -1))) == wanted


# Losses ---------------------------------------------------------------------------------------------------------------


def test_who_is_lost_is_named_by_its_end() -> None:
    found = figures(
        run(
            task(0),
            lost(1, "crash"),
            lost(2, "timeout", outcome="RAISED"),
            lost(3, "crash"),
            dropped(4),
            lost(5, state="EXPIRED", failure="", outcome="CANCELLED"),
        )
    )
    assert (found["succeeded"], found["lost"]) == (1, 5)
    assert found["lost_by"] == {"SIGNALLED": 2, "RAISED": 1, "DROPPED": 1, "EXPIRED": 1}


def test_innocents_are_affected_by_what_others_did_and_by_nothing_else() -> None:
    again = {
        outcome: (Try(1.0, 2.0, outcome, 100), Try(2.0, 3.0, "COMPLETED", 101))
        for outcome in ("RAISED", "SIGNALLED", "EVICTED", "HOST_LOST")
    }
    own = [task(0), task(1, tries=again["RAISED"]), task(2, tries=again["SIGNALLED"]), lost(3, outcome="RAISED")]
    others = [dropped(4), task(5, tries=again["EVICTED"]), task(6, tries=again["HOST_LOST"])]
    found = figures(run(*own, *others, task(7, fault="slow", tries=again["EVICTED"]), lost(8, "crash")))
    assert (found["innocents"], found["innocents_affected"]) == (7, 3)


def test_innocents_are_late_that_waited_much_longer_than_the_slowest_under_fresh() -> None:
    fresh = [run(task(0, ended_s=3.0), task(1, ended_s=9.0, fault="slow"), lost(2, ended_s=9.0))]
    fresh += [run(task(0, ended_s=1.0), repeat=2)]
    others = [
        run(task(0, ended_s=6.0), task(1, ended_s=33.0, fault="slow"), task(2, ended_s=33.0), strategy="sequential"),
        run(task(0, ended_s=2.1), strategy="sequential", repeat=2),
    ]
    yardstick = Yardstick.of(fresh + others)
    assert figures_of(others, yardstick).innocents_late == 2
    assert figures_of(fresh, yardstick).innocents_late == 0
    assert figures_of(others, Yardstick.of(others)).innocents_late is None, "nobody knows what they would have taken"


def test_who_found_a_trace_is_contaminated() -> None:
    assert figures(run(task(0), task(1, canary="t0"), task(2, canary="t1")))["contaminated"] == 2


# Sessions -------------------------------------------------------------------------------------------------------------


def test_sessions_that_were_in_the_memory_of_a_dead_process_are_lost() -> None:
    tasks = [
        task(0, session="a"),
        task(1, session="a"),
        task(2, session="b"),
        task(3, session="elsewhere", tries=(Try(1.0, 3.0, "COMPLETED", 200),)),
        task(4),
        lost(5, "crash", pid=100, session="never written"),
    ]
    assert sessions_lost(run(*tasks, strategy="stateful")) == 2
    assert sessions_lost(run(*tasks, strategy="sequential")) == 2


@pytest.mark.parametrize("strategy", ["fresh", "pool"])
def test_sessions_that_are_recorded_are_not(strategy: str) -> None:
    assert sessions_lost(run(task(0, session="a"), lost(1, "crash"), strategy=strategy)) == 0


def test_a_failure_that_leaves_its_process_loses_no_session() -> None:
    tasks = (task(0, session="a"), lost(1, outcome="RAISED"))
    assert sessions_lost(run(*tasks, strategy="stateful")) == 0


# Outputs --------------------------------------------------------------------------------------------------------------


def test_outputs_are_compared_with_the_first_run_that_has_one() -> None:
    first = run(task(0), task(1), lost(2, "crash"), lost(3))
    second = run(task(0), task(1, digest="another"), task(2), lost(3), strategy="pool")
    third = run(task(0), lost(1), task(2, digest="another"), task(3), strategy="stateful")
    yardstick = Yardstick.of([first, second, third])
    found = [figures_of([one], yardstick) for one in (first, second, third)]
    assert [(one.outputs_differ, one.outputs_compared) for one in found] == [(None, 0), (1, 2), (1, 2)]
    together = figures_of([second, third], yardstick)
    assert (together.outputs_differ, together.outputs_compared) == (2, 4)


def test_of_what_was_not_compared_nothing_is_said() -> None:
    found = figures(run(lost(0, "crash")), run(task(0), repeat=2))
    assert (found["outputs_differ"], found["outputs_compared"]) == (None, 0)
