"""Kills the coordinator at what its store's thread does to files, call by call: a commit is there, or is not.

    ./scripts/test tests/faults/test_crash_syscalls.py --points 0 --seed 7

tries every sync, truncation and removal, and every fifth write, from the one that `--seed` says; `--points` is five
times how many. C1-C8 of the fault list, within the commits that `test_crash_sweep.py` takes as a whole, and within the
opening, the checkpoint and the closing of the store.

strace follows the store's thread only, so that `when=N` counts its calls and no host or agent is slowed down. It sends
the signal on entry: the call that is named is not done, all before it are, and the process is dead with all of its
threads. Nothing is torn by that, nor lost from the kernel's cache; for those see `storage_power_loss.py`.
"""

import collections
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from world import build, play, standard_books, sweep

EVERY_WRITE = 5


@pytest.fixture(scope="module", autouse=True)
def strace() -> None:
    """Have strace, and the right to trace."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    argv = ["/usr/bin/env", "strace", "-o", os.devnull, sys.executable, "-c", ""]
    tried = subprocess.run(argv, check=False, capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"strace may not trace here: {tried.stderr.strip()}")


def trace(directory: Path, seed: int) -> list[str]:
    """Return the calls of a whole run at which it is to be killed, in order: `fdatasync:3`."""
    directory.mkdir()
    path = directory / "calls"
    assert not play(standard_books(directory), directory / "data", build("--strace", str(path)))
    done: collections.Counter[str] = collections.Counter()
    places = []
    for line in path.read_text().splitlines():
        call, bracket, _ = line.partition("(")
        if bracket:
            done[call] += 1
            if call != "pwrite64" or done[call] % EVERY_WRITE == seed % EVERY_WRITE:
                places.append(f"{call}:{done[call]}")
    return places


def killed(directory: Path, place: str) -> tuple[str, ...]:
    """Return the program that is killed at a call."""
    call, _, number = place.partition(":")
    output = directory / place / "calls"
    return build("--strace", str(output), "--inject", f"{call}:signal=SIGKILL:when={number}")


@pytest.mark.timeout(7200)
def test_the_coordinator_may_die_at_any_call_of_its_store(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    # Off: `commit-first`, and most writes from 50 to 90 break a promise. A sync breaks none: writes outlive processes.
    number, seed = pytestconfig.getoption("--points"), pytestconfig.getoption("--seed")
    places = trace(tmp_path / "trace", seed)
    assert any(place.startswith("fdatasync:") for place in places)
    sweep(tmp_path, places, -(-number // 5), seed, lambda place: killed(tmp_path, place))
