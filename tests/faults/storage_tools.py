"""What the storage fault tests share: a second coordinator, the store's commands, a small disk."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from hundredfold.testing.coordinator import CoordinatorProcess

AGENTS: Final = Path(__file__).with_name("storage_agents.py")
Serve = Callable[..., CoordinatorProcess]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root; tests/unit/test_room.py needs nothing")


@contextmanager
def small_disk(path: Path, size: int) -> Iterator[None]:
    """Have a file system of its own, and a small one, at `path`."""
    path.mkdir(mode=0o700)
    subprocess.run(["/usr/bin/env", "mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["/usr/bin/env", "umount", "--lazy", path], check=True)


def second(data_dir: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Start another coordinator on a data directory that has one."""
    argv = [sys.executable, "-m", "hundredfold_coordinator", "serve", "--data-dir", str(data_dir), *arguments]
    environment = {key: text for key, text in os.environ.items() if not key.startswith(("HUNDREDFOLD_", "XDG_"))}
    return subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=environment)


def store_command(data_dir: Path, *arguments: str) -> str:
    argv = [sys.executable, "-m", "hundredfold_coordinator", "store", *arguments, "--data-dir", str(data_dir)]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout
