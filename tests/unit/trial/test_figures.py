"""Shows the figures of a comparison, on runs made by hand."""

import json

import pytest
from hundredfold_coordinator.trial.figures import costs_of_faults, figures_of, percentiles, sessions_lost, throughput
from hundredfold_coordinator.trial.outcome import Run, Sample, Try
from made_runs import GIB, dropped, lost, run, task


def figures(*runs: Run) -> dict[str, object]:
    return figures_of(runs, runs[0]).as_dict()


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
        "innocents": 2,
        "innocents_lost": 0,
        "innocents_affected": 1,
        "contaminated": 0,
        "sessions_lost": 0,
        "outputs_differ": 0,
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


def test_throughput_counts_results_only() -> None:
    assert throughput(run(task(0, ended_s=2.0), lost(1), task(2, ended_s=1.0))) == [(1.0, 1), (2.0, 2)]


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


def test_innocents_are_lost_or_affected() -> None:
    again = (Try(1.0, 2.0, "SIGNALLED", 100), Try(2.0, 3.0, "COMPLETED", 101))
    found = figures(
        run(task(0), lost(1, "crash"), dropped(2), task(3, tries=again), task(4, fault="slow", tries=again))
    )
    assert (found["innocents"], found["innocents_lost"], found["innocents_affected"]) == (3, 1, 2)


def test_who_found_a_trace_is_contaminated() -> None:
    assert figures(run(task(0), task(1, canary="t0"), task(2, canary="t1")))["contaminated"] == 2


def test_a_fault_costs_its_victims_and_whom_it_took_along() -> None:
    runs = [
        run(
            lost(0, "crash", pid=100),
            dropped(1, pid=100),
            dropped(2, pid=100),
            lost(3, "hang", outcome="TIMED_OUT", pid=200),
            dropped(4, pid=200),
            task(5, fault="slow"),
            task(6),
        ),
        run(lost(0, "crash", pid=300), dropped(1, pid=300), repeat=2),
    ]
    assert costs_of_faults(runs) == {
        "crash": {"tasks": 2, "lost": 2, "innocents_lost": 3},
        "hang": {"tasks": 1, "lost": 1, "innocents_lost": 1},
        "slow": {"tasks": 1, "lost": 0, "innocents_lost": 0},
    }


def test_a_victim_that_waited_is_lost_to_its_own_fault_and_takes_nobody_along() -> None:
    assert costs_of_faults([run(lost(0, "crash", pid=100), dropped(1, pid=100, fault="hang"))]) == {
        "crash": {"tasks": 1, "lost": 1, "innocents_lost": 0},
        "hang": {"tasks": 1, "lost": 1, "innocents_lost": 0},
    }


def test_a_fault_that_leaves_its_process_took_nobody_along() -> None:
    costs = costs_of_faults([run(lost(0, "timeout", outcome="RAISED", pid=100), dropped(1, pid=100))])
    assert costs == {
        "": {"tasks": 0, "lost": 0, "innocents_lost": 1},
        "timeout": {"tasks": 1, "lost": 1, "innocents_lost": 0},
    }


def test_who_failed_by_itself_was_lost_to_no_fault() -> None:
    own = lost(1, outcome="RAISED", message="the tool said: process 100 is busy")
    assert costs_of_faults([run(lost(0, "crash", pid=100), own)])[""] == {"tasks": 0, "lost": 0, "innocents_lost": 1}


def test_pids_of_one_run_say_nothing_of_another() -> None:
    runs = [run(lost(0, "crash", pid=100)), run(lost(0, "hang", outcome="TIMED_OUT", pid=100), dropped(1, pid=100))]
    assert costs_of_faults(runs)["hang"]["innocents_lost"] == 1
    assert costs_of_faults(runs)["crash"]["innocents_lost"] == 0


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


def test_outputs_are_compared_with_those_of_the_first_run() -> None:
    reference = run(task(0), task(1), lost(2, "crash"))
    other = run(task(0), task(1, digest="another"), task(2), lost(3), strategy="pool")
    assert figures_of([other], reference).outputs_differ == 1
    assert figures_of([reference], reference).outputs_differ == 0
    assert figures_of([other, other], reference).outputs_differ == 2
