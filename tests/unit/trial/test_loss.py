"""Shows why tasks have no result, and which injected fault is to answer for it, on runs made by hand."""

from hundredfold_coordinator.trial.loss import Cause, Loss, costs_of_faults, losses_of
from made_runs import dropped, lost, run, task


def cost(tasks: int = 0, own: int = 0, taken: int = 0, alone: int = 0) -> dict[str, int]:
    return {"tasks": tasks, "lost_to_own_fault": own, "taken_along": taken, "failed_by_itself": alone}


def test_every_task_without_a_result_has_one_cause() -> None:
    tasks = (task(0), lost(1, "crash", pid=100), dropped(2, pid=100), lost(3, outcome="RAISED", pid=101))
    assert list(losses_of(run(*tasks))) == [
        Loss(Cause.OWN_FAULT, "crash"),
        Loss(Cause.TAKEN_ALONG, "crash"),
        Loss(Cause.BY_ITSELF, ""),
    ]


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
    assert costs_of_faults(runs) == {"crash": cost(2, 2, 3), "hang": cost(1, 1, 1), "slow": cost(1)}


def test_a_victim_that_waited_was_taken_along_and_not_lost_to_its_own_fault() -> None:
    tasks = (lost(0, "crash", pid=100), dropped(1, pid=100, fault="slow"), dropped(2, pid=100, fault="leak"))
    assert costs_of_faults([run(*tasks)]) == {"crash": cost(1, 1, 2), "leak": cost(1), "slow": cost(1)}


def test_a_victim_that_never_began_was_not_lost_to_its_fault() -> None:
    expired = lost(0, "slow", state="EXPIRED", failure="")
    never = task(1, fault="slow", state="EXPIRED", tries=(), digest="")
    assert costs_of_faults([run(expired, never)]) == {"": cost(alone=1), "slow": cost(2, 1)}


def test_a_fault_that_leaves_its_process_took_nobody_along() -> None:
    costs = costs_of_faults([run(lost(0, "timeout", outcome="RAISED", pid=100), dropped(1, pid=100))])
    assert costs == {"": cost(taken=1), "timeout": cost(1, 1)}


def test_who_failed_by_itself_was_lost_to_no_fault() -> None:
    own = lost(1, outcome="RAISED", message="the tool said: process 100 is busy")
    assert costs_of_faults([run(lost(0, "crash", pid=100), own)])[""] == cost(alone=1)


def test_pids_of_one_run_say_nothing_of_another() -> None:
    runs = [run(lost(0, "crash", pid=100)), run(lost(0, "hang", outcome="TIMED_OUT", pid=100), dropped(1, pid=100))]
    assert costs_of_faults(runs) == {"crash": cost(1, 1), "hang": cost(1, 1, 1)}
