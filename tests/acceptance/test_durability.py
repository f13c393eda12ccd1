"""A submission is answered only after its commit is on the disk, as the kernel saw it."""

import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hundredfold.testing.coordinator import CoordinatorProcess, eventually
from hundredfold.v1 import behaviour_pb2

ECHO = behaviour_pb2.EnvironmentSpec(commands=[behaviour_pb2.Command(name="echo", argv=["/bin/cat"])])
REQUEST = "the-request-id-of-this-test"


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_sync_comes_before_the_answer(tmp_path: Path) -> None:
    process = CoordinatorProcess(tmp_path / "data")
    trace = tmp_path / "trace"
    strace = subprocess.Popen(
        [
            "/usr/bin/env",
            "strace",
            "-f",
            "-s",
            "100000",
            "-e",
            "trace=pwrite64,fdatasync,fsync,sendmsg",
            "-o",
            trace,
            "-p",
            str(process.pid),
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: trace.exists() and _traced(process.pid), what="attaching strace")
        with process.client() as client:
            client.submit("echo", {}, environment=client.open_environment(ECHO).name, request_id=REQUEST)
        time.sleep(0.2)
    finally:
        strace.terminate()
        strace.wait()
        process.stop()
    _assert_order(trace.read_text())


def _assert_order(text: str) -> None:
    lines = text.splitlines()
    written = next(i for i, line in enumerate(lines) if "pwrite64" in line and REQUEST in line)
    synced = next(i for i, line in enumerate(lines) if i > written and re.search(r"f(data)?sync.*= 0", line))
    # The answer holds the task, whose record was written with the request id; its id starts the same line of bytes.
    task_id = re.search(r"[0-9A-HJKMNP-TV-Z]{26}", lines[written])
    assert task_id
    answered = next(i for i, line in enumerate(lines) if "sendmsg" in line and task_id.group() in line)
    assert written < synced < answered


def _traced(pid: int) -> bool:
    return "TracerPid:\t0" not in Path(f"/proc/{pid}/status").read_text()
