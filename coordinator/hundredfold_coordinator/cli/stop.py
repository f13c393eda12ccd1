"""`hundredfold stop`."""

import asyncio
import time
from typing import Any

import click
from hundredfold import Client
from hundredfold.errors import Unreachable

from hundredfold_coordinator.cli import options, output

_POLL_SECONDS = 0.05


@click.command("stop")
@options.client_options
@options.output_format
@click.option("--drain-seconds", type=float, help="How long running tasks may go on; the coordinator's own by default.")
@click.option("--grace-seconds", type=float, help="Time from SIGTERM to SIGKILL; the coordinator's own by default.")
@click.option("--keep-agents", is_flag=True, help="Leave running agents to the next coordinator: an upgrade.")
@options.asynchronous
async def command(
    *, output_format: str, drain_seconds: float | None, grace_seconds: float | None, keep_agents: bool, **where: Any
) -> None:
    """Stop the coordinator, and wait until it has ended.

    Running tasks may finish for a while; those that do not are ended and queued for the next start.
    """
    began = time.monotonic()
    async with Client(**options.target(where)) as client:
        answer = await client.drain(drain_seconds=drain_seconds, grace_seconds=grace_seconds, keep_agents=keep_agents)
        await _wait_until_gone(client, answer.pid, 0 if keep_agents else answer.running)
    taken = time.monotonic() - began
    if output_format == "json":
        output.write_json({"pid": answer.pid, "running": answer.running, "queued": answer.queued, "seconds": taken})
    else:
        output.note(
            f"stopped (pid {answer.pid}) after {output.seconds(taken)}; "
            + (
                output.counted(answer.running, "agent runs on", "agents run on")
                if keep_agents
                else "what is not done waits for the next start"
            )
        )


async def _wait_until_gone(client: Client, pid: int, running: int) -> None:
    told = -1
    while True:
        if running not in (0, told):
            output.note(f"waiting for {output.counted(running, 'running task')}")
            told = running
        await asyncio.sleep(_POLL_SECONDS)
        try:
            if (await client.status()).pid != pid:
                return  # somebody has started the next one
            running = len(await client.workers())
        except Unreachable:
            return
