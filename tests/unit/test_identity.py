"""Shows that a process is told from every other one, and that no stranger is ever killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hundredfold.identity import boot_id, identity, is_known_dead, kill_trees, open_process, pid_namespace, stat_fields
from hundredfold.internal.v1 import records_pb2


@pytest.fixture
def child() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that waits until its input ends."""
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        yield process
        process.kill()


def changed(pid: int, **fields: object) -> records_pb2.ProcessIdentity:
    """Return the identity of a process with something else in it."""
    found = identity(pid)
    assert found
    for name, value in fields.items():
        setattr(found, name, value)
    return found


def test_a_process_knows_itself() -> None:
    own = identity(os.getpid())
    assert own
    assert own.pid == os.getpid()
    assert own.start_ticks > 0
    assert own.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip() == boot_id()
    assert own.pid_namespace == int(str(Path("/proc/self/ns/pid").readlink()).strip("pid:[]")) == pid_namespace()
    assert identity(os.getpid()) == own


def test_two_processes_differ(child: "subprocess.Popen[bytes]") -> None:
    other = identity(child.pid)
    assert other
    assert other != identity(os.getpid())


def test_a_name_with_brackets_and_spaces_does_not_confuse(tmp_path: Path) -> None:
    program = tmp_path / "a) b (c"
    program.symlink_to("/bin/cat")
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        fields = stat_fields(process.pid)
        found = identity(process.pid)
        process.kill()
    assert fields
    assert int(fields[1]) == os.getpid(), "its parent"
    assert found
    assert found.start_ticks > 0


def test_a_dead_process_is_nobody(child: "subprocess.Popen[bytes]") -> None:
    wanted = changed(child.pid)
    child.kill()
    child.wait()
    assert stat_fields(child.pid) is None
    assert identity(child.pid) is None
    assert open_process(wanted) is None
    kill_trees([wanted])


def test_a_process_that_is_not_reaped_yet_still_has_its_name(child: "subprocess.Popen[bytes]") -> None:
    before = identity(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert identity(child.pid) == before


def test_exactly_this_process_can_be_opened(child: "subprocess.Popen[bytes]") -> None:
    descriptor = open_process(changed(child.pid))
    assert descriptor is not None
    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    os.close(descriptor)
    assert child.wait() == -signal.SIGKILL


def test_exactly_this_process_is_killed(child: "subprocess.Popen[bytes]") -> None:
    kill_trees([changed(child.pid)])
    assert child.wait() == -signal.SIGKILL


@pytest.mark.parametrize(
    "difference",
    [{"start_ticks": 1}, {"boot_id": "00000000-0000-0000-0000-000000000000"}, {"pid_namespace": 1}],
    ids=["time", "boot", "container"],
)
def test_a_stranger_of_the_same_pid_is_left_alone(
    child: "subprocess.Popen[bytes]", difference: dict[str, object]
) -> None:
    stranger = changed(child.pid, **difference)
    assert open_process(stranger) is None
    kill_trees([stranger])
    assert child.poll() is None
    assert child.stdin
    child.stdin.close()
    assert child.wait() == 0, "it ended by itself"


@pytest.mark.parametrize("pid", [0, -1, 2**31 - 1])
def test_what_is_no_process_is_not_opened(pid: int) -> None:
    unknown = records_pb2.ProcessIdentity(pid=pid)
    assert open_process(unknown) is None
    kill_trees([unknown])


def test_who_is_gone_is_known_to_be(child: "subprocess.Popen[bytes]") -> None:
    wanted = changed(child.pid)
    assert not is_known_dead(wanted)
    assert is_known_dead(changed(child.pid, start_ticks=1)), "another one has its pid"
    child.kill()
    child.wait()
    assert is_known_dead(wanted)


@pytest.mark.parametrize("elsewhere", [{"boot_id": "another"}, {"pid_namespace": 1}], ids=["machine", "container"])
def test_nobody_knows_who_is_gone_elsewhere(child: "subprocess.Popen[bytes]", elsewhere: dict[str, object]) -> None:
    """Seen red: the pid of one in another container meant nobody here, and its lease was taken."""
    wanted = changed(child.pid, **elsewhere)
    child.kill()
    child.wait()
    assert not is_known_dead(wanted)


def test_who_cannot_be_seen_is_not_known_to_be_gone(
    child: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a /proc that hides the processes of others."""
    wanted = changed(child.pid)
    monkeypatch.setattr("hundredfold.identity.stat_fields", lambda _pid: None)
    assert not is_known_dead(wanted)
    child.kill()
    child.wait()
    assert is_known_dead(wanted)


TREE = """
import os, subprocess, sys, time
from hundredfold.prctl import adopt_orphans
adopt_orphans()
subprocess.Popen(["/bin/sleep", "60"], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        os.execv("/bin/sleep", ["sleep", "60"])
    os._exit(0)
time.sleep(60)
"""


def test_what_is_below_a_subreaper_goes_with_it() -> None:
    parent = subprocess.Popen([sys.executable, "-c", TREE], stdout=subprocess.PIPE)
    assert parent.stdout
    daemon = int(parent.stdout.readline())
    tree = [parent.pid, daemon, *(child.pid for child in psutil.Process(parent.pid).children(recursive=True))]
    assert len(set(tree)) >= 3
    kill_trees([changed(parent.pid)])
    parent.stdout.close()
    assert parent.wait() == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while left := [pid for pid in tree if (fields := stat_fields(pid)) and fields[0] != b"Z"]:
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.01)
