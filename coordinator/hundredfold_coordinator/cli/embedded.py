"""A coordinator for the time being: the same `serve`, in a process session of its own, on the same data directory."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from hundredfold import Client
from hundredfold.errors import HundredfoldError, InternalError, Unreachable

_START_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.05
_ORPHAN_SECONDS: Final = 5
_LOG_NAME: Final = "embedded.log"


@asynccontextmanager
async def embedded_coordinator(client: Client, data_dir: Path, concurrency: int | None) -> AsyncIterator[None]:
    """Run a coordinator while the block runs; it ends with its last task, or when this process is gone.

    Its log is `embedded.log` in the data directory.

    Raises:
        InternalError: it does not start; the error quotes its log.

    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = data_dir / _LOG_NAME
    reader, writer = os.pipe()  # this end is closed by the kernel, however this process ends
    with log.open("wb") as stream:
        process = subprocess.Popen(  # noqa: ASYNC220  # it takes a few milliseconds, once
            _argv(data_dir, reader, concurrency),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            pass_fds=[reader],
            start_new_session=True,
        )
    os.close(reader)
    try:
        await _until_ready(client, process, log)
        yield
    finally:
        await _end(client, process, writer)


def _argv(data_dir: Path, owner_fd: int, concurrency: int | None) -> list[str]:
    argv = [sys.executable, "-P", "-m", "hundredfold_coordinator", "serve", "--data-dir", str(data_dir)]
    argv += ["--owner-fd", str(owner_fd), "--orphan-seconds", str(_ORPHAN_SECONDS)]
    return argv + (["--concurrency", str(concurrency)] if concurrency else [])


async def _until_ready(client: Client, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise InternalError(
                "the embedded coordinator did not start: " + log.read_text(errors="replace")[-1000:].strip()
            )
        try:
            await client.status()
        except Unreachable:
            await asyncio.sleep(_POLL_SECONDS)
        else:
            return
    raise InternalError(f"the embedded coordinator did not answer within {_START_SECONDS:g} s; see {log}")


async def _end(client: Client, process: "subprocess.Popen[bytes]", writer: int) -> None:
    """Have it stop, and wait for it; tasks of others that run on it may finish first."""
    try:
        await client.drain()
    except HundredfoldError:
        os.close(writer)  # it is only just starting, or in trouble: it notices that its owner has gone
        writer = -1
    while process.poll() is None:
        await asyncio.sleep(_POLL_SECONDS)
    if writer >= 0:
        os.close(writer)
