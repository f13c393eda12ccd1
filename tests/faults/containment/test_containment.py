"""Whatever an attempt or a zygote does, it costs that attempt only, is explained, and leaves nothing behind.

Every test runs beside a neighbour that must not notice (`conftest.py`), on a host with what this machine has and on one
with nothing. What was switched off when a test was seen to fail is said in it, after "Red:".
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from hundredfold.testing.coordinator import eventually
from hundredfold.v1 import attempt_pb2
from hundredfold_host.containment.hierarchies import own_cgroups

if TYPE_CHECKING:
    from tests.faults.containment.conftest import Stage

REQUESTED, WALL_LIMIT = attempt_pb2.KILL_CAUSE_REQUESTED, attempt_pb2.KILL_CAUSE_WALL_LIMIT
MEMORY_LIMIT, PROCESS_LIMIT = attempt_pb2.KILL_CAUSE_MEMORY_LIMIT, attempt_pb2.KILL_CAUSE_PROCESS_LIMIT
NOT_KILLED = attempt_pb2.KILL_CAUSE_UNSPECIFIED
POLLING, CGROUP = attempt_pb2.ENFORCER_POLLING, attempt_pb2.ENFORCER_CGROUP
SESSION = attempt_pb2.CONTAINMENT_SESSION
MEBIBYTE = 1 << 20
SOON_NS = 5e9
"""How long the end of hundreds of processes may take, on a slow machine: what is one alone has a second."""


def ran_seconds(receipt: attempt_pb2.Receipt) -> float:
    return (receipt.exit_time.ToNanoseconds() - receipt.fork_time.ToNanoseconds()) / 1e9


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid)


# W1, W2, W3: it ends before its time ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGABRT", "SIGBUS"])
def test_a_signal_of_its_own_is_no_kill_of_ours(stage: "Stage", name: str) -> None:
    # Red: with `reaped` taking every signal for a limit.
    receipt = stage.launch("die", name=name, memory_bytes=200 * MEBIBYTE).wait_receipt()
    assert receipt.signal == signal.Signals[name]
    assert (receipt.kill_cause, list(receipt.kill_signals), receipt.survivors) == (NOT_KILLED, [], 0)
    assert not receipt.HasField("exit_code")


def test_leaving_with_code_0_is_no_result(stage: "Stage") -> None:
    # Red: with `leave` returning instead.
    attempt = stage.launch("leave")
    receipt = attempt.wait_receipt()
    assert (receipt.HasField("exit_code"), receipt.exit_code) == (True, 0)
    assert attempt.result is None


# W4, W6, W7: it does not end in time ----------------------------------------------------------------------------------


def test_a_stopped_worker_ends_at_its_wall_limit(stage: "Stage") -> None:
    # Red: without the SIGKILL after the grace time, for SIGTERM waits for ever in a stopped process.
    receipt = stage.launch("die", name="SIGSTOP", wall=0.5, grace=0.3).wait_receipt()
    assert (receipt.signal, receipt.kill_cause) == (signal.SIGKILL, WALL_LIMIT)
    assert list(receipt.kill_signals) == ["TERM", "KILL"]
    assert 0.8 <= ran_seconds(receipt) < 2
    assert receipt.requested_limits.wall_time == receipt.effective_limits.wall_time
    assert receipt.effective_limits.wall_time.ToMilliseconds() == 500


def test_a_deaf_worker_is_killed_after_the_grace_time(stage: "Stage") -> None:
    # Red: without the SIGKILL after the grace time.
    attempt = stage.launch("ignore_sigterm", wall=10, grace=5)
    attempt.wait_pid()
    time.sleep(0.3)
    stage.kill(attempt, 0.3)
    receipt = attempt.wait_receipt()
    assert (receipt.signal, receipt.kill_cause) == (signal.SIGKILL, REQUESTED)
    assert list(receipt.kill_signals) == ["TERM", "KILL"]


@pytest.mark.parametrize("how", ["python", "native"])
def test_a_busy_worker_ends_at_its_wall_limit(stage: "Stage", how: str) -> None:
    # Red: without the alarm of the wall limit.
    receipt = stage.launch("spin", how=how, wall=0.5, grace=0.2).wait_receipt()
    assert receipt.kill_cause == WALL_LIMIT
    assert receipt.signal == (signal.SIGKILL if how == "native" else signal.SIGTERM)


def test_a_wall_limit_needs_no_coordinator(stage: "Stage") -> None:
    # Red: without the alarm of the wall limit.
    attempt = stage.launch("nap", seconds=60, wall=0.8)
    attempt.wait("taken")
    stage.leave()
    time.sleep(1.2)
    stage.serve()
    receipt = attempt.wait_receipt()
    assert receipt.kill_cause == WALL_LIMIT
    assert 0.8 <= ran_seconds(receipt) < 1.1


def test_what_ended_while_its_host_was_stopped_was_not_late(stage: "Stage") -> None:
    # Red: with a plain timer in place of the alarm.
    attempt = stage.launch("nap", seconds=0.6, wall=1.2)
    attempt.wait_pid()
    time.sleep(0.2)
    os.kill(stage.host.pid, signal.SIGSTOP)
    attempt.wait("result")
    time.sleep(2.5)
    os.kill(stage.host.pid, signal.SIGCONT)
    receipt = attempt.wait_receipt()
    assert (receipt.exit_code, receipt.kill_cause, list(receipt.kill_signals)) == (0, NOT_KILLED, [])


# W8: it takes too much memory -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["at once", "slowly", "child"])
def test_a_hog_ends_at_its_memory_limit(stage: "Stage", how: str) -> None:
    # Red: without `enforce_memory` (in a session; a child in a cgroup), and with a worker that joins no cgroup.
    receipt = stage.launch("eat", how=how, memory_bytes=150 * MEBIBYTE, wall=10).wait_receipt()
    assert (receipt.kill_cause, receipt.signal) == (MEMORY_LIMIT, signal.SIGKILL)
    assert receipt.effective_limits.memory_bytes == receipt.requested_limits.memory_bytes == 150 * MEBIBYTE
    assert receipt.memory_enforcer in (POLLING, CGROUP)
    assert (receipt.containment == SESSION) <= (receipt.memory_enforcer == POLLING)
    assert receipt.survivors == 0


# W9, W11, W12: it leaves others behind --------------------------------------------------------------------------------


def test_a_fork_bomb_is_bounded_and_gone(stage: "Stage") -> None:
    # Red: with the sweep switched off, and with a worker that joins no cgroup.
    before = len(psutil.pids())
    attempt = stage.launch("bomb", processes=40, memory_bytes=500 * MEBIBYTE, wall=4)
    receipt = attempt.wait_receipt()
    assert receipt.survivors == 0
    assert receipt.empty_time.ToNanoseconds() - receipt.exit_time.ToNanoseconds() < SOON_NS
    if receipt.process_enforcer == CGROUP:
        assert receipt.kill_cause == WALL_LIMIT, "it could not fork, but went on trying"
        assert receipt.children_seen < 40
    else:
        assert receipt.kill_cause == PROCESS_LIMIT
        assert receipt.children_seen >= 40
    eventually(lambda: len(psutil.pids()) < before + 20, what="the end of the bomb")
    assert stage.run("nap", seconds=0) > 0, "the host launches as before"


def test_a_bomb_that_is_only_killed_leaves_nothing(stage: "Stage") -> None:
    # Red: with the sweep switched off (in a session), with group and sweep switched off (in a cgroup).
    attempt = stage.launch("bomb", wall=1)
    receipt = attempt.wait_receipt()
    assert (receipt.kill_cause, receipt.survivors) == (WALL_LIMIT, 0)
    assert receipt.leftovers_killed > 100
    assert receipt.children_seen >= receipt.leftovers_killed
    assert receipt.empty_time.ToNanoseconds() - receipt.exit_time.ToNanoseconds() < SOON_NS


def test_a_daemon_does_not_survive_its_attempt(stage: "Stage", tmp_path: Path) -> None:
    # Red: with the sweep switched off.
    attempt = stage.launch("daemonise", path=str(tmp_path / "pid"))
    receipt = attempt.wait_receipt()
    assert is_gone(attempt.wait("result"))
    assert (receipt.leftovers_killed, receipt.survivors) == (1, 0)
    assert receipt.empty_time.ToNanoseconds() - receipt.exit_time.ToNanoseconds() < 1e9


def test_a_child_that_holds_the_output_open_holds_nothing_up(stage: "Stage") -> None:
    # Red: as above.
    attempt = stage.launch("keep_stdout")
    receipt = attempt.wait_receipt()
    assert is_gone(attempt.wait("result"))
    assert receipt.leftovers_killed == receipt.children_seen == 1


def test_a_flood_of_output_costs_no_memory_and_no_attention(stage: "Stage") -> None:
    # Red: with a tail that is not cut.
    before = psutil.Process(stage.host.pid).memory_info().rss
    attempt = stage.launch("shout", seconds=1)
    attempt.wait_pid()
    assert stage.run("nap", seconds=0) > 0
    assert attempt.receipt is None, "the host launches and reaps others meanwhile"
    receipt = attempt.wait_receipt()
    assert len(receipt.stdout_tail) == 16 * 1024
    assert receipt.dropped_bytes > MEBIBYTE
    assert psutil.Process(stage.host.pid).memory_info().rss < before + 20 * MEBIBYTE


# W10, W16: it spoils what it has --------------------------------------------------------------------------------------


def test_what_a_worker_uses_up_is_its_own(stage: "Stage", tmp_path: Path) -> None:
    # Red: with the zygote's descriptors limited as well.
    assert stage.run("exhaust", path=str(tmp_path / "full")) == ["OSError", "OSError", "0"]
    assert stage.run("nap", seconds=0) > 0


def test_what_a_worker_changes_of_itself_changes_nobody_else(stage: "Stage") -> None:
    # Red: with the zygote's descriptors limited instead.
    before = stage.run("look")
    assert stage.launch("make_a_mess").wait_receipt().survivors == 0
    assert stage.run("look") == before


# Z1 to Z4: its zygote -------------------------------------------------------------------------------------------------


def test_a_killed_zygote_is_replaced_and_its_workers_exit_codes_are_kept(stage: "Stage") -> None:
    # Red: with `_reap_own` that learns nothing.
    running = stage.launch("nap", seconds=0.5)
    running.wait_pid()
    first = stage.zygote()
    os.kill(first, signal.SIGKILL)
    assert stage.run("nap", seconds=0) > 0
    assert stage.zygote() != first
    receipt = running.wait_receipt()
    assert (receipt.HasField("exit_code"), receipt.exit_code) == (True, 0)


def test_a_stopped_zygote_is_replaced(stage: "Stage") -> None:
    # Red: without the limit on answers.
    if not stage.best:
        pytest.skip("it takes five seconds, and containment has no part in it")
    running = stage.launch("nap", seconds=0.1)
    running.wait_pid()
    first = stage.zygote()
    os.kill(first, signal.SIGSTOP)
    begin = time.monotonic()
    failed = stage.launch("nap", seconds=0).wait("launch_failed")
    assert 3 < time.monotonic() - begin < 8
    assert not failed.transient
    assert "died" in failed.reason
    assert stage.run("nap", seconds=0) > 0
    assert running.wait_receipt().exit_code == 0, "who ended meanwhile is reaped"
    assert stage.zygote() != first


def test_where_a_plugin_starts_threads_every_worker_has_them(stage: "Stage", tmp_path: Path) -> None:
    # Red: with `single_use` always false (every fork fails).
    plugin = tmp_path / "threaded.py"
    plugin.write_text(
        "import os, threading\n"
        "from hundredfold import behaviour\n"
        "threading.Thread(target=threading.Event().wait, name='early', daemon=True).start()\n"
        "@behaviour\n"
        "def threads() -> list: return [os.getpid(), *(thread.name for thread in threading.enumerate())]\n"
    )
    environment = stage.open(str(tmp_path), plugin)
    assert "threads at import" in environment.warning
    attempts = [stage.launch("threads", str(tmp_path), processes=20, wall=20) for _ in range(2)]
    for attempt in attempts:
        pid, *names = attempt.wait("result")
        assert (pid, "early" in names) == (attempt.wait_pid(), True)
        receipt = attempt.wait_receipt()
        assert (receipt.exit_code, receipt.survivors, receipt.kill_cause) == (0, 0, NOT_KILLED)
    assert attempts[0].wait_pid() != attempts[1].wait_pid()


@pytest.fixture
def relieve(stage: "Stage") -> Iterator[Callable[[], None]]:
    """The zygote is in a cgroup that lets it fork no more, until this is called."""
    base = own_cgroups().get("pids")
    if base is None or not os.access(base, os.W_OK):
        pytest.skip("it takes a cgroup to keep root from forking")
    path, zygote = base / f"hundredfold-test-{os.getpid()}", stage.zygote()

    def relieve() -> None:
        if path.exists():
            (base / "cgroup.procs").write_text(str(zygote))
            path.rmdir()

    path.mkdir()
    (path / "pids.max").write_text("1")
    (path / "cgroup.procs").write_text(str(zygote))
    yield relieve
    relieve()


def test_a_fork_that_fails_says_that_it_will_pass(stage: "Stage", relieve: Callable[[], None]) -> None:
    # Red: with `transient` always false.
    failed = stage.launch("nap", seconds=0).wait("launch_failed")
    assert failed.transient
    assert "Resource temporarily unavailable" in failed.reason
    relieve()
    assert stage.run("nap", seconds=0) > 0


# The receipt ----------------------------------------------------------------------------------------------------------


def test_a_receipt_says_what_held_it(stage: "Stage") -> None:
    # Red: with a group that says the opposite.
    unlimited = stage.launch("nap", seconds=0).wait_receipt()
    assert unlimited.memory_enforcer == unlimited.process_enforcer == attempt_pb2.ENFORCER_UNSPECIFIED
    limited = stage.launch("nap", seconds=0, processes=9, memory_bytes=300 * MEBIBYTE).wait_receipt()
    assert limited.containment == unlimited.containment
    assert limited.effective_limits == limited.requested_limits
    by_cgroup = limited.containment != SESSION
    assert limited.process_enforcer == (CGROUP if by_cgroup else POLLING)
    assert by_cgroup <= stage.best
    assert 0 < limited.fork_time.ToNanoseconds() <= limited.exit_time.ToNanoseconds()
    assert limited.exit_time.ToNanoseconds() <= limited.empty_time.ToNanoseconds()
