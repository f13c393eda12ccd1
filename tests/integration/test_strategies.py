"""Strategies other than a process for each task: what holds all the same, and what does not."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from socket import socket
from typing import Any

import psutil
import pytest
from hundredfold import Injection, Limits, Retry, Submission, SyncClient
from hundredfold.client import decode, result_of
from hundredfold.errors import HundredfoldError, TaskFailed
from hundredfold.testing.coordinator import CoordinatorProcess, eventually, running_coordinator
from hundredfold.v1 import attempt_pb2, task_pb2
from servers.proxy import Proxy

from tests.integration.conftest import AGENTS

POOL_SIZE = 3
OUTCOME = attempt_pb2.AttemptOutcome
QUICK = ("--grace-seconds", "0.2", "--plugin", str(AGENTS))
Start = Callable[..., CoordinatorProcess]


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoordinatorProcess]:
    """A coordinator with small pools, which the tests of this module share."""
    arguments = [*QUICK, "--pool-size", str(POOL_SIZE)]
    with running_coordinator(tmp_path_factory.mktemp("data"), arguments=arguments) as process:
        yield process


def submit_all(client: SyncClient, wishes: list[Submission]) -> list[str]:
    accepted = client.submit_many(wishes)
    assert not [one for one in accepted if isinstance(one, HundredfoldError)]
    return [one.id for one in accepted if isinstance(one, task_pb2.Task)]


def ended(client: SyncClient, ids: list[str], seconds: float = 60) -> list[task_pb2.Task]:
    """Return tasks in the order of their ids, when all have ended."""
    assert len(list(client.as_ended(ids, timeout_seconds=seconds))) == len(set(ids))
    return [client.get(task_id) for task_id in ids]


def run_all(client: SyncClient, strategy: str, behaviour: str, inputs: list[Any], **fields: Any) -> list[task_pb2.Task]:
    wishes = [Submission(behaviour, value, strategy=strategy, **fields) for value in inputs]
    return ended(client, submit_all(client, wishes))


def run_one(client: SyncClient, strategy: str, behaviour: str, value: Any = None, **fields: Any) -> task_pb2.Task:
    return run_all(client, strategy, behaviour, [{} if value is None else value], **fields)[0]


def pids_of(tasks: list[task_pb2.Task]) -> Counter[int]:
    return Counter(attempt.pid for task in tasks for attempt in task.attempts)


def outcomes(task: task_pb2.Task) -> list[str]:
    return [OUTCOME.Name(attempt.outcome).removeprefix("ATTEMPT_OUTCOME_") for attempt in task.attempts]


def running_pid(client: SyncClient, task_id: str) -> int:
    eventually(lambda: client.get(task_id).state == task_pb2.TASK_STATE_RUNNING, what="its start")
    return client.get(task_id).attempts[-1].pid


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


# A pool ---------------------------------------------------------------------------------------------------------------


def test_tasks_share_a_few_processes(client: SyncClient) -> None:
    tasks = run_all(client, "pool", "nap", [{"seconds": 0.01}] * 40)
    pids = pids_of(tasks)
    assert sum(pids.values()) == 40
    assert len(pids) <= POOL_SIZE
    assert all(result_of(task) == task.attempts[0].pid for task in tasks)
    assert {task.spec.strategy for task in tasks} == {task_pb2.STRATEGY_POOL}


def test_each_has_a_receipt_that_says_its_process_stays(client: SyncClient) -> None:
    for task in run_all(client, "pool", "nap", [{"seconds": 0.05}] * 4):
        receipt = task.attempts[0].receipt
        assert receipt.process_stays
        assert 0.04 < receipt.wall_time.ToMilliseconds() / 1000 < 5
        assert receipt.HasField("cpu_time")
        assert task.attempts[0].HasField("end_time")


def test_every_task_of_a_fresh_one_has_a_process(client: SyncClient) -> None:
    tasks = run_all(client, "fresh", "nap", [{"seconds": 0}] * 5)
    assert len(pids_of(tasks)) == 5
    assert not any(task.attempts[0].receipt.process_stays for task in tasks)


def test_sessions_are_recorded_as_they_are_under_fresh(client: SyncClient) -> None:
    for strategy in ("pool", "fresh"):
        session = f"recorded-{strategy}"
        inputs = [{"text": str(number)} for number in range(10)]
        tasks = run_all(client, strategy, "remember", inputs, session=session)
        assert [result_of(task)["before"] for task in tasks] == [[str(n) for n in range(k)] for k in range(10)]
        found = client.sessions.get(session)
        assert (found.version, found.item_count, dict(found.state)) == (10, 10, {"count": 10})
        assert [item.task_id for item in found.items] == [task.id for task in tasks]


def test_tasks_of_one_session_run_beside_each_other_if_they_may(client: SyncClient) -> None:
    inputs = [{"text": str(number), "merge": True, "pause": 0.05} for number in range(9)]
    tasks = run_all(client, "pool", "note", inputs, session="merged", session_policy="concurrent")
    assert [task.state for task in tasks] == [task_pb2.TASK_STATE_SUCCEEDED] * 9
    assert sorted(item.content for item in client.sessions.get("merged").items) == [str(n) for n in range(9)]


def test_a_conflict_costs_an_attempt_and_no_worker(client: SyncClient) -> None:
    inputs = [{"text": str(number), "merge": False, "pause": 0.02} for number in range(9)]
    tasks = run_all(client, "pool", "note", inputs, session="contested", session_policy="concurrent")
    assert "CONFLICT" in {outcome for task in tasks for outcome in outcomes(task)}
    assert len(pids_of(tasks)) <= POOL_SIZE


def test_a_failed_attempt_records_nothing_and_costs_nobody_else_anything(client: SyncClient) -> None:
    inputs = [{"text": str(number), "fail": number % 2 == 0} for number in range(6)]
    tasks = run_all(client, "pool", "remember", inputs, session="careful")
    assert [outcomes(task) for task in tasks] == [["RAISED"], ["COMPLETED"]] * 3
    assert [item.content for item in client.sessions.get("careful").items] == ["1", "3", "5"]
    assert len(pids_of(tasks)) <= POOL_SIZE


def test_checkpoints_events_and_memory_work(client: SyncClient) -> None:
    saved = run_one(client, "pool", "save", [1], injection=Injection("crash"))
    assert (outcomes(saved), result_of(saved)) == (["SIGNALLED", "COMPLETED"], [1])
    talked = run_all(client, "pool", "chatter", [{"events": 20}] * 4)
    for task in talked:
        events = [decode(event.emitted.payload) for event in client.watch(task.id) if event.HasField("emitted")]
        assert events == list(range(20))
    client.memory.create("pool", 2)
    written = run_one(client, "pool", "misremember", {"collection": "pool", "figures": 2})
    assert written.state == task_pb2.TASK_STATE_SUCCEEDED
    assert [match.id for match in client.memory.search("pool", (1, 1))] == ["x"]


def test_what_is_printed_is_kept_with_its_worker(client: SyncClient) -> None:
    task = run_one(client, "pool", "end", {"how": "raise"})
    assert (task.failure.type, outcomes(task)) == ("ZeroDivisionError", ["RAISED"])
    assert run_one(client, "pool", "end", {"how": "not-json"}).failure.type == "TypeError"


def test_a_result_that_is_too_large_or_does_not_fit_ends_the_attempt_only(client: SyncClient) -> None:
    client.memory.create("narrow", 2)
    wide, fitting = {"collection": "narrow", "figures": 3}, {"collection": "narrow", "figures": 2}
    tasks = run_all(client, "pool", "misremember", [wide, fitting] * 4, session="narrow")
    assert [outcomes(task) for task in tasks] == [["RAISED"], ["COMPLETED"]] * 4
    assert client.sessions.get("narrow").item_count == 4
    assert len(pids_of(tasks)) <= POOL_SIZE
    large = run_all(client, "pool", "end", [{"how": "large"}, {"how": "large"}, {"how": "raise"}])
    assert [task.failure.type for task in large] == ["PayloadTooLarge", "PayloadTooLarge", "ZeroDivisionError"]
    assert len(pids_of(large)) <= POOL_SIZE


def test_a_crash_costs_one_attempt_which_is_tried_again(client: SyncClient) -> None:
    wishes = [Submission("nap", {"seconds": 0.02}, strategy="pool") for _ in range(20)]
    wishes[7] = Submission("nap", {"seconds": 0.02}, strategy="pool", injection=Injection("crash"))
    tasks = ended(client, submit_all(client, wishes))
    assert {task.state for task in tasks} == {task_pb2.TASK_STATE_SUCCEEDED}
    assert outcomes(tasks.pop(7)) == ["SIGNALLED", "COMPLETED"]
    assert [outcomes(task) for task in tasks] == [["COMPLETED"]] * 19


def test_a_wall_limit_ends_one_attempt_and_the_pool_goes_on(client: SyncClient, tmp_path: Path) -> None:
    path = tmp_path / "go"
    limited = client.submit("hold", {"path": str(path)}, strategy="pool", limits=Limits(wall_seconds=0.5)).id
    others = submit_all(client, [Submission("hold", {"path": str(path)}, strategy="pool") for _ in range(6)])
    assert outcomes(client.wait(limited, timeout_seconds=10)) == ["TIMED_OUT"]
    path.touch()
    assert [outcomes(task) for task in ended(client, others)] == [["COMPLETED"]] * 6


def test_who_is_cancelled_takes_nobody_along(client: SyncClient, tmp_path: Path) -> None:
    path = tmp_path / "go"
    ids = submit_all(client, [Submission("hold", {"path": str(path)}, strategy="pool") for _ in range(6)])
    pid = running_pid(client, ids[0])
    client.cancel(ids[0])
    client.cancel(ids[5])
    assert client.wait(ids[0], timeout_seconds=10).state == task_pb2.TASK_STATE_CANCELLED
    eventually(lambda: is_gone(pid), what="the end of its process")
    path.touch()
    states = [task.state for task in ended(client, ids)]
    cancelled, succeeded = task_pb2.TASK_STATE_CANCELLED, task_pb2.TASK_STATE_SUCCEEDED
    assert states == [cancelled, succeeded, succeeded, succeeded, succeeded, cancelled]


def test_whoever_tidies_up_when_cancelled_can(client: SyncClient, tmp_path: Path) -> None:
    """The second attempt of a process hears of it as the first one does."""
    broken = {"path": str(tmp_path), "seconds": 0}
    first = run_all(client, "pool", "tidy_sync", [broken] * POOL_SIZE)
    assert {task.failure.type for task in first} == {"IsADirectoryError"}
    task_id = client.submit("tidy_sync", {"path": str(tmp_path / "tidied")}, strategy="pool").id
    next(event for event in client.watch(task_id) if event.HasField("emitted"))
    assert client.get(task_id).attempts[0].pid in pids_of(first)
    client.cancel(task_id)
    client.wait(task_id)
    eventually((tmp_path / "tidied").exists, what="it")


def test_sessions_of_a_pool_run_at_once_and_in_their_order(client: SyncClient) -> None:
    names = [f"s{number}" for number in range(6)]
    wishes = [
        Submission("remember", {"text": str(number), "pause": 0.02}, session=name, strategy="pool")
        for number in range(5)
        for name in names
    ]
    tasks = ended(client, submit_all(client, wishes))
    for task, wish in zip(tasks, wishes, strict=True):
        assert result_of(task)["before"] == [str(number) for number in range(int(wish.input["text"]))]


def test_memory_of_an_attempt_does_not_grow_with_the_events_of_others(client: SyncClient) -> None:
    """Each attempt has its own outbox: numbers begin again, and no event is told twice."""
    tasks = run_all(client, "pool", "chatter", [{"events": 3, "pause": 0.1}] * 6)
    for task in tasks:
        events = [decode(event.emitted.payload) for event in client.watch(task.id) if event.HasField("emitted")]
        assert events == [0, 1, 2]


def test_a_worker_is_replaced_after_so_many_tasks(start: Start) -> None:
    with start("--pool-size", "1", "--pool-tasks", "3").client() as client:
        tasks = run_all(client, "pool", "nap", [{"seconds": 0}] * 9)
        assert list(pids_of(tasks).values()) == [3, 3, 3]
        for pid in pids_of(tasks):
            eventually(lambda pid=pid: is_gone(pid), what="the end of a worn worker")


def test_idle_workers_end_after_a_while_and_come_back(start: Start) -> None:
    with start("--pool-idle-seconds", "0.5").client() as client:
        first = run_one(client, "pool", "nap", {"seconds": 0}).attempts[0].pid
        assert run_one(client, "pool", "nap", {"seconds": 0}).attempts[0].pid == first
        began = time.monotonic()
        eventually(lambda: is_gone(first), seconds=4, what="the end of an idle worker")
        assert time.monotonic() - began > 0.3
        assert run_one(client, "pool", "nap", {"seconds": 0}).attempts[0].pid != first
        assert not client.status().draining


def test_a_stop_does_not_wait_for_idle_workers(start: Start) -> None:
    process = start()
    with process.client() as client:
        pid = run_one(client, "pool", "nap", {"seconds": 0}).attempts[0].pid
        assert not is_gone(pid)
        began = time.monotonic()
        client.drain(drain_seconds=30, grace_seconds=1)
    assert process.wait() == 0
    assert time.monotonic() - began < 5
    assert is_gone(pid)


def test_a_coordinator_that_is_killed_loses_nothing_of_a_pool(start: Start) -> None:
    """200 tasks of 20 sessions: each is recorded once, whatever had been answered when the coordinator died."""
    wishes = [
        Submission(
            "remember",
            {"text": str(number), "pause": 0.01},
            session=f"s{number % 20}",
            strategy="pool",
            retry=Retry(max_attempts=1),  # not even one that was handed over and had not begun may fail
        )
        for number in range(200)
    ]
    process = start("--pool-size", "4")
    with process.client() as client:
        ids = submit_all(client, wishes)
        eventually(lambda: succeeded(client) > 60, what="some of them")
        done_before = succeeded(client)
    process.signal(signal.SIGKILL)
    process.wait()
    with start("--pool-size", "4").client() as client:
        tasks = ended(client, ids)
        assert done_before < 200
        assert Counter(task.state for task in tasks) == {task_pb2.TASK_STATE_SUCCEEDED: 200}
        assert Counter(number for task in tasks for number in [results_of(client, task.id)]) == {1: 200}
        for number in range(20):
            session = client.sessions.get(f"s{number}")
            assert sorted(int(item.content) for item in session.items) == list(range(number, 200, 20))
            assert session.version == 10


def succeeded(client: SyncClient) -> int:
    counts = {count.state: count.count for count in client.status().task_counts}
    return counts.get(task_pb2.TASK_STATE_SUCCEEDED, 0)


def results_of(client: SyncClient, task_id: str) -> int:
    """Return how often the history of a task says that it has succeeded."""
    states = [event.state_change.state for event in client.watch(task_id) if event.HasField("state_change")]
    return states.count(task_pb2.TASK_STATE_SUCCEEDED)


# Lost answers ---------------------------------------------------------------------------------------------------------


class Forgetful(Proxy):
    """A proxy that loses the answer to the first request with a word, when that has been dealt with."""

    def __init__(self, path: Path, target: Path, word: bytes) -> None:
        self._word = word
        self.lost = 0
        super().__init__(path, target)

    def _pass_on(self, data: bytes, client: socket, server: socket, *, is_request: bool) -> bool:
        if is_request and self._word in data and not self.lost:
            self.lost += 1
            server.sendall(data)
            time.sleep(0.3)
            return False
        return super()._pass_on(data, client, server, is_request=is_request)


@pytest.mark.parametrize("waiting", [0, 3])
@pytest.mark.parametrize(
    ("behaviour", "value", "word"), [("greet", {"name": "Ada"}, b"hello Ada"), ("end", {"how": "raise"}, b"by zero")]
)
def test_who_lost_the_answer_is_given_the_same_attempt_again(
    start: Start, behaviour: str, value: Any, word: bytes, waiting: int
) -> None:
    process = start("--pool-size", "1")
    real = process.data_dir / "worker.real.sock"
    (process.data_dir / "worker.sock").rename(real)
    proxy = Forgetful(process.data_dir / "worker.sock", real, word)
    try:
        with process.client() as client:
            tasks = run_all(client, "pool", behaviour, [value] * (1 + waiting))
            later = run_one(client, "pool", behaviour, value)
            assert proxy.lost == 1
            assert {tuple(outcomes(task)) for task in (*tasks, later)} <= {("COMPLETED",), ("RAISED",)}
            assert len(pids_of([*tasks, later])) == 1
            assert {results_of(client, task.id) for task in tasks} == {int(behaviour == "greet")}
    finally:
        process.stop()
        proxy.close()
        (process.data_dir / "worker.sock").unlink(missing_ok=True)


# Agents that live on --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["stateful", "sequential"])
def test_sessions_stay_in_memory_and_nothing_of_them_is_recorded(client: SyncClient, strategy: str) -> None:
    session = f"kept-{strategy}"
    tasks = run_all(client, strategy, "remember", [{"text": str(number)} for number in range(6)], session=session)
    assert [result_of(task)["before"] for task in tasks] == [[str(n) for n in range(k)] for k in range(6)]
    assert [result_of(task)["version"] for task in tasks] == list(range(6))
    assert len(pids_of(tasks)) == 1
    assert client.sessions.get(session).version == 0
    assert session not in [found.id for found in client.sessions.list(session)]


def test_sessions_of_stateful_agents_are_found_again_and_read_at_length(client: SyncClient) -> None:
    run_all(client, "stateful", "remember", [{"text": f"word {number}"} for number in range(4)], session="long")
    other = run_one(client, "stateful", "browse", {"query": "word"}, session="long")
    assert other.state == task_pb2.TASK_STATE_FAILED, "agents of another behaviour have other memories"


def test_the_sessions_of_stateful_agents_are_spread(client: SyncClient) -> None:
    wishes = [
        Submission("remember", {"text": str(number)}, session=f"spread-{number % 12}", strategy="stateful")
        for number in range(36)
    ]
    tasks = ended(client, submit_all(client, wishes))
    agents: dict[str, set[int]] = {}
    for task in tasks:
        agents.setdefault(task.spec.session, set()).add(task.attempts[0].pid)
    assert {len(pids) for pids in agents.values()} == {1}
    assert 1 < len(pids_of(tasks)) <= POOL_SIZE


@pytest.mark.parametrize("strategy", ["stateful", "sequential"])
def test_with_a_crash_goes_what_waited_and_what_was_remembered(start: Start, strategy: str) -> None:
    with start("--pool-size", "1").client() as client:
        before = run_one(client, strategy, "remember", {"text": "before"}, session="s")
        wishes = [
            Submission("remember", {"text": str(n), "pause": 0.1}, session="s", strategy=strategy) for n in range(6)
        ]
        wishes[2] = Submission("remember", {"text": "2"}, session="s", strategy=strategy, injection=Injection("crash"))
        tasks = ended(client, submit_all(client, wishes))
        assert [outcomes(task) for task in tasks] == [["COMPLETED"]] * 2 + [["SIGNALLED"]] + [[]] * 3
        dropped = tasks[3].failure
        assert (dropped.type, dropped.outcome) == ("Dropped", attempt_pb2.ATTEMPT_OUTCOME_DROPPED)
        assert str(before.attempts[0].pid) in dropped.message
        after = run_one(client, strategy, "remember", {"text": "after"}, session="s")
        assert result_of(after) == {"before": [], "count": 1, "version": 0}
        assert after.attempts[0].pid != before.attempts[0].pid


def test_what_raises_costs_an_agent_nothing(client: SyncClient) -> None:
    inputs = [{"text": str(number), "fail": number == 1} for number in range(4)]
    tasks = run_all(client, "stateful", "remember", inputs, session="raising")
    assert [task.state == task_pb2.TASK_STATE_SUCCEEDED for task in tasks] == [True, False, True, True]
    assert result_of(tasks[3])["before"] == ["0", "2"]
    assert len(pids_of(tasks)) == 1


def test_what_an_agent_could_not_deliver_it_has_not_kept(client: SyncClient) -> None:
    client.memory.create("flat", 2)
    wide, fitting = {"collection": "flat", "figures": 3}, {"collection": "flat", "figures": 2}
    tasks = run_all(client, "stateful", "misremember", [fitting, wide, fitting], session="flat")
    assert [outcomes(task) for task in tasks] == [["COMPLETED"], ["RAISED"], ["COMPLETED"]]
    assert len(pids_of(tasks)) == 1


def test_one_agent_takes_one_task_after_the_other_in_order(client: SyncClient) -> None:
    tasks = run_all(client, "sequential", "nap", [{"seconds": 0.01}] * 12)
    starts = [task.attempts[0].start_time.ToNanoseconds() for task in tasks]
    ends = [task.attempts[0].end_time.ToNanoseconds() for task in tasks]
    assert starts == sorted(starts)
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))
    assert len(pids_of(tasks)) == 1


@pytest.mark.parametrize("strategy", ["pool", "stateful", "sequential"])
def test_a_parallel_crowd_of_clients_gets_its_own_results(client: SyncClient, strategy: str) -> None:
    def ask(number: int) -> Any:
        return result_of(run_one(client, strategy, "square", {"number": number}))

    with ThreadPoolExecutor(8) as crowd:
        assert list(crowd.map(ask, range(40))) == [number * number for number in range(40)]


# What is left in a process --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "found"), [("fresh", False), ("pool", True), ("stateful", True), ("sequential", True)]
)
def test_traces_of_others_are_found_where_processes_are_shared(client: SyncClient, strategy: str, found: bool) -> None:  # noqa: FBT001
    tasks = run_all(client, strategy, "square", [{"number": n} for n in range(12)], injection=Injection(canary=True))
    ids = {task.id for task in tasks}
    traces = [
        decode(event.emitted.payload)["canary"]
        for task in tasks
        for event in client.watch(task.id)
        if event.HasField("emitted")
    ]
    assert bool(traces) is found
    assert len(traces) >= (12 - POOL_SIZE) * found
    assert set(traces) <= ids


# Faults on purpose ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["fresh", "pool"])
def test_faults_cost_their_victims_only(client: SyncClient, strategy: str) -> None:
    faults = {3: Injection("crash"), 5: Injection("timeout", 0.1), 7: Injection("hang"), 9: Injection("slow", 0.3)}
    faults[11] = Injection("leak")
    wishes = [
        Submission("square", {"number": n}, strategy=strategy, injection=faults.get(n), limits=Limits(wall_seconds=1))
        for n in range(14)
    ]
    tasks = ended(client, submit_all(client, wishes))
    ends = {3: ["SIGNALLED", "COMPLETED"], 5: ["RAISED"], 7: ["TIMED_OUT"]}
    assert {n: outcomes(task) for n, task in enumerate(tasks)} == {n: ends.get(n, ["COMPLETED"]) for n in range(14)}
    assert tasks[9].attempts[0].receipt.wall_time.ToMilliseconds() >= 300
    assert tasks[5].failure.type == "TimeoutError"
    with pytest.raises(TaskFailed, match="did not answer"):
        result_of(tasks[5])


def test_a_fault_befalls_the_first_attempt_only(client: SyncClient) -> None:
    twice = Retry(max_attempts=3, initial_seconds=0)
    for strategy in ("fresh", "pool"):
        task = run_one(client, strategy, "square", {"number": 3}, injection=Injection("timeout", 0.01), retry=twice)
        assert (outcomes(task), result_of(task)) == (["RAISED", "COMPLETED"], 9)


# What a behaviour is run under ----------------------------------------------------------------------------------------


def test_a_coordinator_says_how_behaviours_are_run_and_tasks_may_differ(start: Start) -> None:
    with start("--behaviour-strategy", "nap=pool", "--behaviour-strategy", "square=sequential").client() as client:
        assert client.submit("nap", {"seconds": 0}).spec.strategy == task_pb2.STRATEGY_POOL
        assert client.submit("nap", {"seconds": 0}, strategy="fresh").spec.strategy == task_pb2.STRATEGY_FRESH
        assert client.submit("square", {"number": 1}).spec.strategy == task_pb2.STRATEGY_SEQUENTIAL
        assert client.submit("greet", {"name": "Ada"}).spec.strategy == task_pb2.STRATEGY_FRESH
