"""`hundredfold doctor`."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from hundredfold_coordinator.cli import options, output

_SYNCS: Final = 20
_SLOW_SECONDS: Final = 0.01
_DESCRIPTORS_EACH: Final = 3
_MANY: Final = 1 << 20
_EXAMINE_SECONDS: Final = 30


class Finding(NamedTuple):
    """One thing that was looked at: what was found, and what follows from it."""

    name: str
    found: str
    follows: str


@click.command("doctor")
@options.data_dir
@options.output_format
def command(*, data_dir: Path, output_format: str) -> None:
    """Say what this machine gives, and what follows from it. No coordinator is needed."""
    findings = [*_findings(_examine()), _disk(data_dir.absolute()), _sqlite()]
    if output_format == "json":
        for finding in findings:
            output.write_json(finding._asdict())
    else:
        for finding in findings:
            click.echo(f"{finding.name:<12} {finding.found}\n{'':<12} {finding.follows}")


def _examine() -> dict[str, Any]:
    argv = [sys.executable, "-P", "-m", "hundredfold_host", "--examine"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_EXAMINE_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise click.ClickException(f"the machine cannot be examined within {_EXAMINE_SECONDS} s") from error
    if done.returncode:
        raise click.ClickException(f"the machine cannot be examined: {done.stderr.strip()[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _findings(machine: dict[str, Any]) -> Iterator[Finding]:
    yield _containment(machine)
    yield _memory(machine)
    yield _pressure(machine["pressure"])
    yield _swap(machine["swap_bytes"])
    yield _files(machine["open_files"])
    yield _processes(machine["processes"])
    cpus = output.counted(machine["cpu_count"], "CPU")
    yield Finding("cpu", cpus, "Behaviours that keep CPUs busy wait while those that run want two for every one.")


def _files(limit: int) -> Finding:
    if not 0 <= limit < _MANY:
        return Finding("files", "any number open at once", "A host needs three for an agent: enough for any number.")
    agents = limit // _DESCRIPTORS_EACH
    return Finding("files", f"{limit} open at once", f"A host needs three for an agent: enough for {agents} at once.")


def _processes(limit: int) -> Finding:
    count = "any number of" if limit < 0 else str(limit)
    follows = "Agents, what they start and all threads are counted, and whatever else this user runs."
    return Finding("processes", f"{count} processes and threads for this user", follows)


def _containment(machine: dict[str, Any]) -> Finding:
    kind = machine["containment"]
    follows = {
        "CGROUP_V2": "Every attempt has a cgroup: its processes end together, and the kernel holds its limits.",
        "CGROUP_V1": "Every attempt has cgroups: its processes are found and ended, and the kernel holds its limits.",
        "SESSION": "No cgroup may be made: processes are found through /proc, and limits are held by looking, up to a "
        "quarter of a second late. With systemd, Delegate=yes and DelegateSubgroup= give cgroups.",
    }[kind]
    version = "" if kind != "SESSION" else (", cgroup v2 is mounted" if machine["cgroup_v2"] else ", no cgroup v2")
    return Finding("containment", kind + version, follows)


def _memory(machine: dict[str, Any]) -> Finding:
    limit, total = machine["memory_limit_bytes"], machine["memory_bytes"]
    found = f"{output.size(total)}" + (f", of which this cgroup may use {output.size(limit)}" if limit else "")
    follows = (
        f"It can be used up at {output.size(machine['fault_rate_bytes'])} a second, so at least "
        f"{output.size(machine['headroom_bytes'])} are never given away, and never less than memory_reserve_bytes."
    )
    return Finding("memory", found, follows)


def _pressure(scope: str) -> Finding:
    return {
        "CGROUP": Finding("pressure", "of this cgroup", "Nothing is started while what runs stalls for memory."),
        "MACHINE": Finding(
            "pressure",
            "of the machine only",
            "Strangers are counted, too, so it is heeded only while memory is short as well.",
        ),
    }.get(scope, Finding("pressure", "not counted by this kernel", "Only free memory is looked at."))


def _swap(size: int) -> Finding:
    if not size:
        return Finding("swap", "none", "What does not fit into memory is evicted in time, or ended by the kernel.")
    return Finding("swap", output.size(size), "It is not counted as memory: agents that swap are as good as stopped.")


def _disk(data_dir: Path) -> Finding:
    try:
        return _sync(next(path for path in (data_dir, *data_dir.parents) if path.is_dir()))
    except OSError as error:
        return Finding(
            "disk",
            f"{data_dir} cannot be written: {error.strerror}",
            "No coordinator can work there: choose another --data-dir, or let this user write it.",
        )


def _sync(directory: Path) -> Finding:
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        begin = time.perf_counter()
        for _ in range(_SYNCS):
            file.write(bytes(4096))
            file.flush()
            os.fdatasync(file.fileno())
        seconds = (time.perf_counter() - begin) / _SYNCS
    follows = "A commit takes that long; many tasks share one."
    if seconds > _SLOW_SECONDS:
        follows += " This is slow: a data directory on another disk makes every answer faster."
    return Finding("disk", f"{seconds * 1000:.2f} ms for a sync in {directory}", follows)


def _sqlite() -> Finding:
    import apsw

    return Finding("sqlite", apsw.sqlite_lib_version(), "It comes with Hundredfold; what the system has is not used.")
