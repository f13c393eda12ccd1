"""Where this process is in the cgroup hierarchies of its machine, from proc_pid_mountinfo(5) and cgroups(7)."""

from pathlib import Path
from typing import Final

UNIFIED: Final = ""
"""Stands for the hierarchy of version 2 among the names of controllers."""


def own_cgroups() -> dict[str, Path]:
    """Return the directories of this process's cgroups, by controller; those that are mounted."""
    return locate(Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text())


def locate(mountinfo: str, membership: str) -> dict[str, Path]:
    """Return what `own_cgroups` does, from the content of both files."""
    mounts = _mounts(mountinfo)
    found = {}
    for line in membership.splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            root, point = mounts.get(name, (None, None))
            # What is mounted may be a part of the hierarchy, and this process outside of it.
            if root and point and Path(path).is_relative_to(root) and ".." not in Path(path).parts:
                found[name] = Path(point) / Path(path).relative_to(root)
    return found


def _mounts(mountinfo: str) -> dict[str, tuple[str, str]]:
    """Return root and mount point of every hierarchy, by controller."""
    found = {}
    for line in mountinfo.splitlines():
        place, _, source = line.partition(" - ")
        root, point = place.split()[3:5]
        kind, _, options = source.split(maxsplit=2)
        if kind == "cgroup2":
            found[UNIFIED] = root, point
        elif kind == "cgroup":
            found.update(dict.fromkeys(options.split(","), (root, point)))
    return found
