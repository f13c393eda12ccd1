"""Shows what a host's place in a cgroup hierarchy is, what a group writes there, and what it leaves; without a kernel.

A directory of a test is no cgroup: the files of one are made by the test. What the kernel does with them is shown by
`tests/faults/test_containment.py`, and below for what this machine has.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hundredfold.v1 import attempt_pb2, policy_pb2
from hundredfold_host.containment import cgroup_v2
from hundredfold_host.containment.cgroup import Cgroup
from hundredfold_host.containment.cgroup_v1 import CgroupV1
from hundredfold_host.containment.cgroup_v2 import CgroupV2
from hundredfold_host.containment.choice import choose
from hundredfold_host.containment.contract import Containment
from hundredfold_host.containment.hierarchies import UNIFIED, locate, own_cgroups
from hundredfold_host.containment.home import Home
from hundredfold_host.containment.session import Session

LIMITS = policy_pb2.Limits(memory_bytes=(1 << 20) + 5, processes=7)
V2_FILES = (
    *("cgroup.type", "cgroup.procs", "cgroup.kill", "cgroup.subtree_control"),
    *("pids.max", "memory.max", "memory.oom.group", "memory.swap.max"),
)


# Where a process is ---------------------------------------------------------------------------------------------------

HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
40 31 0:36 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""


def test_every_controller_has_its_directory() -> None:
    found = locate(HYBRID, "4:memory:/a/b\n2:cpu,cpuacct:/\n8:pids:/\n0::/c\n")
    assert found == {
        "memory": Path("/sys/fs/cgroup/memory/a/b"),
        "cpu": Path("/sys/fs/cgroup/cpu,cpuacct"),
        "cpuacct": Path("/sys/fs/cgroup/cpu,cpuacct"),
        UNIFIED: Path("/sys/fs/cgroup/unified/c"),
    }, "pids is not mounted"


def test_a_mount_may_show_a_part_only() -> None:
    mounts = "30 20 0:26 /docker/1 /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n"
    assert locate(mounts, "0::/docker/1/x\n") == {UNIFIED: Path("/sys/fs/cgroup/x")}
    assert locate(mounts, "0::/other\n") == {}
    assert locate(mounts, "0::/../other\n") == {}


def test_a_path_may_hold_a_colon() -> None:
    assert locate("30 20 0:26 / /cg rw - cgroup2 cgroup2 rw\n", "0::/a:b\n") == {UNIFIED: Path("/cg/a:b")}


# The place of a host --------------------------------------------------------------------------------------------------


def test_a_host_removes_its_own(tmp_path: Path) -> None:
    home = Home(tmp_path, "h1")
    taken = home.take()
    assert Path(taken.path).parent == tmp_path / "hundredfold.h1"
    home.close()
    assert list(tmp_path.iterdir()) == []


def test_what_is_given_back_is_used_again(tmp_path: Path) -> None:
    home = Home(tmp_path, "h1")
    first = home.take()
    assert home.take() is not first
    home.give_back(first)
    assert home.take() is first
    home.close()


def test_what_a_dead_host_has_left_is_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "hundredfold.dead" / "1").mkdir(parents=True)
    (tmp_path / "hundredfold.full" / "1" / "busy").mkdir(parents=True)
    (tmp_path / "somebody's").mkdir()
    living, home = Home(tmp_path, "living"), Home(tmp_path, "h1")
    found = {path.name for path in tmp_path.iterdir()}
    assert found == {"hundredfold.full", "somebody's", "hundredfold.living", "hundredfold.h1"}
    living.close()
    home.close()


def test_what_was_busy_at_the_start_is_removed_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "hundredfold.dead" / "1" / "busy").mkdir(parents=True)
    home = Home(tmp_path, "h1")
    (tmp_path / "hundredfold.dead" / "1" / "busy").rmdir()
    home.close()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_may_not_be_made_is_an_error() -> None:
    with pytest.raises(OSError, match="proc"):
        Home(Path("/proc"), "h1")


# Version 2 ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def unified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cgroup of a daemon below a delegated one; every cgroup has its files, as if the kernel had made them."""
    delegated, make = tmp_path / "service", os.mkdir

    def mkdir(path: str | Path, mode: int = 0o777) -> None:
        make(path, mode)
        for name in V2_FILES:
            Path(path, name).touch()
        Path(path, "pids.current").write_text("0\n")
        Path(path, "memory.events").write_text("low 0\noom 3\noom_kill 2\n")

    monkeypatch.setattr(os, "mkdir", mkdir)
    monkeypatch.setattr(os, "getxattr", lambda path, _name: b"1" if path == delegated else b"0")
    (delegated / "daemon").mkdir(parents=True)
    return delegated / "daemon"


@pytest.fixture
def second_version(unified: Path) -> Iterator[CgroupV2]:
    """Cgroups of version 2."""
    containment = CgroupV2.open({UNIFIED: unified}, "h1")
    yield containment
    containment.close()


def content(group: cgroup_v2.CgroupV2Group) -> dict[str, str]:
    return {path.name: path.read_text() for path in Path(group._cgroup.path).iterdir()}


@pytest.mark.usefixtures("second_version")
def test_version_2_has_its_place_beside_the_daemon(unified: Path) -> None:
    assert (unified.parent / "cgroup.subtree_control").read_text() == "+pids +memory"
    assert (unified.parent / "hundredfold.h1" / "cgroup.subtree_control").read_text() == "+pids +memory"


def test_version_2_takes_nothing_that_was_not_delegated(unified: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getxattr", lambda _path, _name: b"0")
    with pytest.raises(PermissionError, match="not delegated"):
        CgroupV2.open({UNIFIED: unified}, "h1")
    with pytest.raises(FileNotFoundError, match="version 2"):
        CgroupV2.open({}, "h1")


def test_version_2_limits_a_group_and_kills_it_at_once(second_version: CgroupV2) -> None:
    group = second_version.make(LIMITS)
    assert isinstance(group, cgroup_v2.CgroupV2Group)
    written = content(group)
    assert (written["pids.max"], written["memory.max"], written["memory.oom.group"]) == ("7", str(1 << 20), "1")
    assert written["memory.swap.max"] == "0"
    assert group.limits == policy_pb2.Limits(memory_bytes=1 << 20, processes=7), "whole pages"
    assert group.memory_enforcer == group.process_enforcer == attempt_pb2.ENFORCER_CGROUP
    assert group.memory_kills() == 2
    assert group.kill() == set(), "nothing is in it"
    Path(group._cgroup.path, "pids.current").write_text("2\n")
    Path(group._cgroup.path, "cgroup.procs").write_text("11\n12\n")
    assert group.kill() == {11, 12}
    assert content(group)["cgroup.kill"] == "1"


def test_version_2_uses_a_group_again_that_had_no_memory_limit(second_version: CgroupV2) -> None:
    first = second_version.make(policy_pb2.Limits(processes=3))
    first.release()
    second = second_version.make(policy_pb2.Limits())
    assert isinstance(first, cgroup_v2.CgroupV2Group)
    assert isinstance(second, cgroup_v2.CgroupV2Group)
    assert second._cgroup is first._cgroup
    assert content(second)["pids.max"].startswith("max")


def test_a_group_that_cannot_be_made_is_done_without(second_version: CgroupV2, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Home, "take", lambda _home: Cgroup(Path("/nowhere")))
    group = second_version.make(LIMITS)
    assert group.kind == attempt_pb2.CONTAINMENT_SESSION
    assert group.memory_enforcer == group.process_enforcer == attempt_pb2.ENFORCER_POLLING
    assert group.limits == LIMITS


# This machine's own ---------------------------------------------------------------------------------------------------


@pytest.fixture
def containment() -> Iterator[Containment]:
    """What this machine gives."""
    containment = choose(f"host-test-{os.getpid()}")
    yield containment
    containment.close()
    assert not [path for base in own_cgroups().values() for path in base.glob(f"hundredfold.host-test-{os.getpid()}")]


@pytest.fixture
def first_version(containment: Containment) -> CgroupV1:
    """Cgroups of version 1, where this machine gives those."""
    if not isinstance(containment, CgroupV1):
        pytest.skip("this machine gives no cgroups of version 1")
    return containment


def test_without_anything_there_is_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hundredfold_host.containment.choice.own_cgroups", dict)
    assert isinstance(choose("h1"), Session)


def test_where_a_process_cannot_join_there_is_the_session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("hundredfold_host.containment.choice.own_cgroups", lambda: {"pids": tmp_path})
    assert isinstance(choose("h1"), Session)
    assert list(tmp_path.iterdir()) == [], "and nothing is left of the attempt"


def test_version_1_kills_what_is_in_it_and_nobody_else(first_version: CgroupV1) -> None:
    group = first_version.make(LIMITS)
    with subprocess.Popen(["/bin/sleep", "60"]) as inside, subprocess.Popen(["/bin/sleep", "60"]) as outside:
        for descriptor in group.join_files(threads=True):
            os.write(descriptor, str(inside.pid).encode())
            os.close(descriptor)
        assert group.kill() == {inside.pid}
        assert inside.wait() == -signal.SIGKILL
        assert group.kill() == set()
        assert outside.poll() is None
        outside.kill()
    group.release()


def test_version_1_uses_a_clean_group_again_with_other_limits(first_version: CgroupV1) -> None:
    for limit, wanted in ((3, "3"), (0, "max"), (5, "5")):
        group = first_version.make(policy_pb2.Limits(processes=limit))
        assert Path(group._pids.path, "pids.max").read_text().strip() == wanted  # type: ignore[attr-defined]
        group.release()
    homes = [path for path in own_cgroups()["pids"].glob(f"hundredfold.host-test-{os.getpid()}/*") if path.is_dir()]
    assert len(homes) == 1


def test_without_a_hierarchy_of_memory_its_limit_is_left_to_the_monitor(first_version: CgroupV1) -> None:
    group = CgroupV1(first_version._pids, None).make(LIMITS)
    assert (group.memory_enforcer, group.process_enforcer) == (
        attempt_pb2.ENFORCER_POLLING,
        attempt_pb2.ENFORCER_CGROUP,
    )
    group.release()
