"""The daemon under test: a coordinator on a fresh data directory, and the processes below it."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import accounting
from hundredfold import Client
from hundredfold.errors import Unreachable

_AGENTS = Path(__file__).resolve().with_name("agents.py")
_DISK = Path("/var/tmp")  # noqa: S108  # /tmp is often memory, where a commit costs nothing; the directory is mkdtemp's
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_IDLE_SECONDS = 15.0
_POOL_SIZE = 32
_POLL_SECONDS = 0.01
_IDLE_POLL_SECONDS = 0.05


class DaemonError(Exception):
    """The daemon did not do what every workload needs; the message says what, and quotes its log."""


@dataclass(frozen=True, slots=True)
class Family:
    """The daemon's processes by their role; workers are children of the zygotes."""

    coordinator: int
    host: int
    zygotes: tuple[int, ...]

    def cpu_seconds(self) -> dict[str, float]:
        """Return the CPU time each role used so far; that of workers once they are reaped."""
        zygotes = [accounting.cpu_of(pid) for pid in self.zygotes]
        return {
            "coordinator": accounting.cpu_of(self.coordinator)[0],
            "host": accounting.cpu_of(self.host)[0],
            "zygote": sum(own for own, _ in zygotes),
            "workers": sum(reaped for _, reaped in zygotes),
        }


@dataclass(frozen=True, slots=True)
class Daemon:
    """A daemon that is ready."""

    client: Client
    directory: Path
    family: Family
    cold_start_s: float

    async def idle(self) -> None:
        """Wait until the process of every task is gone and recorded; say so if that takes too long."""
        deadline = time.monotonic() + _IDLE_SECONDS
        while left := len(await self.client.workers()):
            if time.monotonic() > deadline:
                sys.stderr.write(f"bench: {left} worker(s) are left {_IDLE_SECONDS:g} s after the last result\n")
                return
            await asyncio.sleep(_IDLE_POLL_SECONDS)


@asynccontextmanager
async def running(concurrency: int) -> AsyncIterator[Daemon]:
    """Run a daemon while the block runs; then everything below this process is gone and reaped.

    Raises:
        DaemonError: it did not start.

    """
    directory = Path(tempfile.mkdtemp(prefix="hundredfold-", dir=None if "TMPDIR" in os.environ else _DISK))
    reader, writer = os.pipe()  # should this process be killed, the kernel closes its end, and the daemon stops
    try:
        async with Client(f"unix:{directory / 'api.sock'}") as client:
            begin = time.perf_counter()
            process = _start(directory, concurrency, reader)
            await _until_ready(client, process, directory)
            cold_start_s = time.perf_counter() - begin
            yield Daemon(client, directory, await _family(client), cold_start_s)
            await _stop(client, process)
    except DaemonError as error:
        raise DaemonError(f"{error}; its log ends: {_log(directory).read_text()[-2000:]}") from error
    finally:
        accounting.end_all()
        os.close(reader)
        os.close(writer)
        shutil.rmtree(directory)


def _start(directory: Path, concurrency: int, owner_fd: int) -> "subprocess.Popen[bytes]":
    settings = directory / "config.toml"
    settings.touch()  # nobody's own settings count
    argv = [sys.executable, "-P", "-m", "hundredfold_coordinator", "--config", str(settings), "serve"]
    argv += ["--data-dir", str(directory), "--plugin", str(_AGENTS), "--concurrency", str(concurrency)]
    argv += ["--pool-size", str(_POOL_SIZE), "--pool-idle-seconds", "1"]
    with _log(directory).open("wb") as log:
        return subprocess.Popen(
            [*argv, "--owner-fd", str(owner_fd)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[owner_fd],
            env={key: value for key, value in os.environ.items() if not key.startswith(("HUNDREDFOLD_", "XDG_"))},
            start_new_session=True,  # Ctrl-C is for the bench, which ends it
        )


async def _until_ready(client: Client, process: "subprocess.Popen[bytes]", directory: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DaemonError(f"the daemon ended with code {process.returncode}")
        if (directory / "api.sock").exists():
            try:
                await client.behaviours()  # waits until the environment has reported
            except Unreachable:
                pass
            else:
                return
        await asyncio.sleep(_POLL_SECONDS)
    raise DaemonError(f"the daemon was not ready within {_START_SECONDS:g} s")


async def _family(client: Client) -> Family:
    status = await client.status()
    host = status.hosts[0].pid
    return Family(status.pid, host, tuple(accounting.children(host)))  # no worker exists yet


async def _stop(client: Client, process: "subprocess.Popen[bytes]") -> None:
    """Have it stop; what does not is killed, and said to be."""
    await client.drain(drain_seconds=0, grace_seconds=0)
    deadline = time.monotonic() + _STOP_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        await asyncio.sleep(_POLL_SECONDS)
    if process.returncode is None:
        sys.stderr.write(f"bench: the daemon did not stop within {_STOP_SECONDS:g} s and is killed\n")
    if left := accounting.end_all():
        sys.stderr.write(f"bench: {left} of the daemon's processes were left behind and are killed\n")


def _log(directory: Path) -> Path:
    return directory / "serve.log"
