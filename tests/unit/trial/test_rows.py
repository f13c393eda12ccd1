"""Shows what a person reads first: the cells of the table, and what they come to in a sentence."""

import pytest
from hundredfold_coordinator.trial.rows import ROWS, cell, figure, headline, losses, seconds, shortened
from made_runs import dropped, lost, report, run, task


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0 ms"),
        (0.0123, "12 ms"),
        (0.9, "900 ms"),
        (1.234, "1.23 s"),
        (99.4, "99.4 s"),
        (123.4, "123 s"),
        (12345.6, "12346 s"),
    ],
)
def test_three_figures_of_a_time_are_enough(value: float | None, text: str) -> None:
    assert seconds(value) == text


@pytest.mark.parametrize("value", [0.9996, 99.96])
def test_a_time_just_below_the_next_unit_is_not_written_oddly(value: float) -> None:
    assert seconds(value) == {0.9996: "1 s", 99.96: "100 s"}[value]


def test_every_row_has_a_figure_and_a_name_of_its_own() -> None:
    figures = report(run(task(0)), run(task(0), repeat=2))["strategies"]["fresh"]["figures"]
    assert all(figure(figures, row.key) is not None for row in ROWS)
    assert len({row.key for row in ROWS}) == len({row.name for row in ROWS}) == len(ROWS)
    shown = {row.name: cell(figures, row) for row in ROWS}
    assert (shown["makespan"], shown["latency p99"], shown["peak memory"]) == ("3 s", "3 s", "2 GiB")
    assert (shown["tasks/s"], shown["tasks lost"], shown["memory x time"]) == ("0.333", "0", "3")


def test_large_numbers_are_written_out() -> None:
    many = run(*(task(number, ended_s=1.0) for number in range(1500)))
    assert headline(report(many)) == "1500 tasks: fresh had 1,500 results a second"
    slow = run(task(0, ended_s=1.0), *map(lost, range(1, 1500)), strategy="sequential")
    assert headline(report(many, slow)).endswith(", 4,500 times as many as sequential")


def test_without_a_result_there_is_a_dash() -> None:
    figures = report(run(lost(0)))["strategies"]["fresh"]["figures"]
    assert {row.key: cell(figures, row) for row in ROWS}["latency_s.p50"] == "-"


def test_the_headline_compares_the_best_with_the_worst() -> None:
    fast, slow = run(task(0, ended_s=1.0), task(1, ended_s=1.0)), run(task(0), task(1, ended_s=50.0), strategy="pool")
    assert headline(report(slow, fast)) == "2 tasks: fresh had 2 results a second, 50 times as many as pool"
    assert headline(report(fast)) == "2 tasks: fresh had 2 results a second"
    nothing = run(lost(0), lost(1), strategy="sequential")
    assert headline(report(fast, nothing)) == "2 tasks: fresh had 2 results a second, sequential none"


def test_one_task_is_not_several() -> None:
    assert headline(report(run(task(0)))) == "1 task: fresh had 0.333 results a second"


def test_who_lost_tasks_to_the_faults_of_others_is_named() -> None:
    with_loss = run(lost(0, "crash"), dropped(1), dropped(2), strategy="stateful")
    without = run(lost(0, "crash"), task(1), task(2))
    assert losses(report(without, with_loss)) == "Lost to the faults of others: fresh 0, stateful 2"
    assert losses(report(without)) == ""


def test_what_fails_by_itself_is_lost_to_nobody_elses_fault() -> None:
    own = [run(task(0), lost(1, outcome="RAISED"), strategy=name) for name in ("fresh", "pool")]
    assert losses(report(*own)) == ""


def test_of_outputs_that_were_not_compared_nothing_is_said() -> None:
    figures = report(run(task(0)))["strategies"]["fresh"]["figures"]
    shown = {row.name: cell(figures, row) for row in ROWS}
    assert (shown["outputs compared"], shown["other outputs"]) == ("0", "-")


def test_who_is_over_sooner_for_losing_tasks_has_a_star_and_wins_nothing() -> None:
    whole = run(lost(0, "hang"), task(1, ended_s=10.0), task(2, ended_s=10.0))
    early = run(lost(0, "hang"), task(1, ended_s=3.0), dropped(2), strategy="stateful")
    found = report(whole, early)
    shown = {name: cell(one["figures"], ROWS[0]) for name, one in found["strategies"].items()}
    assert shown == {"fresh": "10 s", "stateful": "3 s *"}
    assert shortened(found).startswith("* over sooner")
    assert headline(found) == "3 tasks: fresh had 0.2 results a second, and lost the fewest"
    assert shortened(report(whole)) == ""
    assert headline(report(whole, run(*whole.tasks, strategy="pool"))) == "3 tasks: fresh had 0.2 results a second"
