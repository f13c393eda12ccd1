"""A coordinator for the time being: the same `serve`, in a process session of its own, on the same data directory."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from hundredfold import Client
from hundredfold.errors import HundredfoldError, InternalError, Unreachable
from hundredfold.v1 import task_pb2

from hundredfold_coordinator.cli.output import note
from hundredfold_coordinator.config import DONE

_START_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.05
_ORPHAN_SECONDS: Final = 5
_LOG_NAME: Final = "embedded.log"
_LIVE: Final = (task_pb2.TASK_STATE_QUEUED, task_pb2.TASK_STATE_LAUNCHING, task_pb2.TASK_STATE_RUNNING)


@dataclass(slots=True)
class Embedded:
    """A coordinator for the time being. `hurry` has it end what still runs instead of waiting for it."""

    hurry: bool = False


@asynccontextmanager
async def embedded_coordinator(
    client: Client, data_dir: Path, concurrency: int | None, arguments: Sequence[str] = ()
) -> AsyncIterator[Embedded]:
    """Run a coordinator while the block runs; it ends with the last task, or when this process is killed.

    `arguments` are more of those of `serve`. Other runs may have found it meanwhile: then it goes on without this
    process until theirs are done. Its log is `embedded.log` in the data directory.

    Raises:
        InternalError: it does not start; the error quotes its log.

    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = data_dir / _LOG_NAME
    reader, writer = os.pipe()  # this end is closed by the kernel, however this process ends
    with log.open("wb") as stream:
        process = subprocess.Popen(  # noqa: ASYNC220  # it takes a few milliseconds, once
            [*_argv(data_dir, reader, concurrency), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            pass_fds=[reader],
            start_new_session=True,
        )
    os.close(reader)
    embedded = Embedded()
    try:
        await _until_ready(client, process, log)
        yield embedded
        with suppress(HundredfoldError, BrokenPipeError):  # it has ended already
            if embedded.hurry:
                await client.drain(drain_seconds=0, grace_seconds=0)
            os.write(writer, DONE)
    finally:
        os.close(writer)  # without the word, after an error, it stops at once: nobody waits for what was submitted
        await _until_ended(client, process)


def _argv(data_dir: Path, owner_fd: int, concurrency: int | None) -> list[str]:
    argv = [sys.executable, "-P", "-m", "hundredfold_coordinator", *_config(), "serve", "--data-dir", str(data_dir)]
    argv += ["--owner-fd", str(owner_fd), "--orphan-seconds", str(_ORPHAN_SECONDS)]
    return argv + (["--concurrency", str(concurrency)] if concurrency else [])


def _config() -> list[str]:
    """Return what has it read the configuration file that this command was given."""
    ctx = click.get_current_context(silent=True)
    path = ctx.find_root().params.get("config") if ctx else None
    return ["--config", path] if path else []


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


async def _until_ended(client: Client, process: "subprocess.Popen[bytes]") -> None:
    """Wait until it has ended, unless it has tasks of others."""
    while process.poll() is None:
        if await _tasks_of_others(client):
            note(f"the coordinator (pid {process.pid}) goes on until the tasks of other runs are done")
            return
        await asyncio.sleep(_POLL_SECONDS)


async def _tasks_of_others(client: Client) -> bool:
    try:
        status = await client.status()
    except HundredfoldError:
        return False  # it is just starting, or ending
    return not status.draining and any(count.state in _LIVE and count.count for count in status.task_counts)
