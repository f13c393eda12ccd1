"""Shows what is read from /proc, with real processes; and families, with invented ones."""

import os
import subprocess
from collections.abc import Iterator

import pytest
from hundredfold_host import proc
from hundredfold_host.proc import Stat


@pytest.fixture
def child() -> Iterator["subprocess.Popen[bytes]"]:
    """A process in a session of its own that waits until its input ends."""
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, start_new_session=True) as process:
        yield process
        process.kill()


def family(*pairs: tuple[int, int]) -> dict[int, Stat]:
    """Return processes by pid, from pairs of pid and parent."""
    return {pid: Stat(pid, parent, 0, 0) for pid, parent in pairs}


def test_a_process_has_its_figures(child: "subprocess.Popen[bytes]") -> None:
    stat = proc.read_stat(child.pid)
    assert stat
    assert (stat.pid, stat.parent, stat.session) == (child.pid, os.getpid(), child.pid)
    assert stat.cpu_seconds >= 0
    own = proc.read_stat(os.getpid())
    assert own
    assert own.session == os.getsid(0)
    assert own.cpu_seconds == pytest.approx(sum(os.times()[:4]), abs=0.1), "with children that were waited for"


def test_a_process_that_is_gone_has_none(child: "subprocess.Popen[bytes]") -> None:
    child.kill()
    child.wait()
    assert proc.read_stat(child.pid) is None


def test_every_process_is_seen(child: "subprocess.Popen[bytes]") -> None:
    processes = proc.scan()
    assert {1, os.getpid(), child.pid} <= processes.keys()
    assert all(stat.pid == pid for pid, stat in processes.items())
    assert child.pid in proc.families(processes)[os.getpid()]


def test_children_are_known_until_they_are_reaped(child: "subprocess.Popen[bytes]") -> None:
    assert child.pid in proc.children_of_this_process()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert child.pid in proc.children_of_this_process(), "a zombie is a child"
    child.wait()
    assert child.pid not in proc.children_of_this_process()


def test_a_family_is_children_by_parent() -> None:
    assert proc.families(family((2, 1), (3, 1), (4, 2))) == {1: [2, 3], 2: [4]}
    assert proc.families({}) == {}


def test_a_tree_is_a_process_and_all_below_it() -> None:
    children = proc.families(family((2, 1), (3, 1), (4, 2), (5, 4), (9, 8)))
    assert sorted(proc.tree(1, children)) == [1, 2, 3, 4, 5]
    assert sorted(proc.tree(2, children)) == [2, 4, 5]
    assert list(proc.tree(3, children)) == [3]
    assert list(proc.tree(77, children)) == [77]


def test_the_wait_for_a_cpu_is_what_the_kernel_counted() -> None:
    assert proc.cpu_wait_seconds(os.getpid()) >= 0
    assert proc.cpu_wait_seconds(2**22 + 1) == 0.0
