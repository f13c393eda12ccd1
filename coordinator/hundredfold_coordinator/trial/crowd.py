"""A crowd: so many agents at once that do nothing but wait, what they cost, and where the machine takes no more."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import psutil
from hundredfold import Client, Submission
from hundredfold.errors import HundredfoldError, InternalError, TimedOut
from hundredfold.v1 import coordinator_service_pb2 as pb
from hundredfold.v1 import task_pb2

from hundredfold_coordinator.trial.family import Family
from hundredfold_coordinator.trial.room import processes_left
from hundredfold_coordinator.trial.sampler import Sampler, busy_seconds

_POLL_SECONDS: Final = 0.05
_STILL_SECONDS: Final = 5.0
"""When no more than before have come to run for so long, no more will."""
_SETTLE_SECONDS: Final = 0.5
_IDLE_SECONDS: Final = 2.0
_IDLE_EACH_SECONDS: Final = 0.005
"""The more agents there are, the rarer and longer are the sweeps in which a host measures them: some must be in it."""


class Start(Protocol):
    """Starts a coordinator with nothing in it and with the behaviours of `agents`, which ends with the block."""

    def __call__(self, concurrency: int, *arguments: str) -> AbstractAsyncContextManager[Client]:
        """Let it run so many agents at once; `arguments` are more of those of `serve`."""


@dataclass(frozen=True, slots=True)
class Uses:
    """What a coordinator's processes use, by role; in seconds, bytes, cores or numbers."""

    coordinator: float
    host: float
    zygote: float


@dataclass(frozen=True, slots=True)
class Room:
    """What there was for agents before the first of them.

    Attributes:
        memory_bytes: what is free, less what is never given away.
        descriptors: how many each process may have open, by role.
        processes: how many processes and threads more there may be; None for any number.

    """

    memory_bytes: int
    descriptors: dict[str, int]
    processes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plateau:
    """What was measured from the first submission until all ran, and while they waited.

    Attributes:
        running: how many came to run.
        gate: what held the others; empty if there are none, or nobody says.
        why: what that gate says of one of them.
        start_cpu_s: CPU time of the whole machine until the last came to run, less that of this process.
        starting_s: CPU time until then, by role.
        memory_bytes: what is not available any more, of the whole machine.
        idle_cores: CPUs that they keep busy while the agents wait, by role.
        pss_bytes: proportional set size, by role.
        descriptors: open ones, by role.
        threads: of all processes of the coordinator, agents included.

    """

    running: int
    gate: str
    why: str
    start_cpu_s: float
    starting_s: Uses
    memory_bytes: int
    idle_cores: Uses
    pss_bytes: Uses
    descriptors: Uses
    threads: int


@dataclass(frozen=True, slots=True)
class Crowd:
    """What was measured of so many agents.

    Attributes:
        wanted: how many there should be.
        plateau: what they cost.
        until_running_s: from the first submission until all ran that came to.
        until_ended_s: from their release until all had ended; None if they did not, or were not all there.
        others_cores: CPUs that everything else kept busy meanwhile, on average.
        room: what there was for them.

    """

    wanted: int
    plateau: Plateau
    until_running_s: float
    until_ended_s: float | None
    others_cores: float
    room: Room

    @property
    def is_whole(self) -> bool:
        """Whether all of them came to run."""
        return self.plateau.running == self.wanted


async def gather(start: Start, wanted: int, directory: Path) -> Crowd:
    """Have so many agents at once, on a coordinator of their own; `directory` is for what they wait at.

    Raises:
        HundredfoldError: it does not start, or refuses a task; or no agent came to run.

    """
    gate = directory / f"gate-{wanted}"
    os.mkfifo(gate)
    async with start(wanted) as client:
        family = await Family.of(client)
        room = await _room(client, family)
        sampler = Sampler(family.processes["coordinator"].pid)
        async with sampler.sampling():
            plateau = await _fill(client, family, wanted, gate)
            tasks = [task async for task in client.list(states=[task_pb2.TASK_STATE_RUNNING])]
            ended_s = await _release(client, [task.id for task in tasks], gate)
    if plateau.running < wanted:
        ended_s = None
    return Crowd(wanted, plateau, _until_running_s(tasks), ended_s, sampler.others_cores, room)


async def _fill(client: Client, family: Family, wanted: int, gate: Path) -> Plateau:
    available, spending = psutil.virtual_memory().available, _Spending(family)
    for answer in await client.submit_many(Submission("hold", {"gate": str(gate)}) for _ in range(wanted)):
        if isinstance(answer, HundredfoldError):
            raise answer
    running, closed = await until_still(client, wanted, spending.look)
    why = "" if running == wanted else await _why(client)
    if not running:
        raise InternalError(f"none of {wanted} agents came to run; {closed or 'no gate'} holds them: {why}")
    await asyncio.sleep(_SETTLE_SECONDS)
    idle_cores = await _idle_cores(family, running)
    return Plateau(
        running=running,
        gate=closed,
        why=why,
        start_cpu_s=spending.machine_s,
        starting_s=spending.roles_s,
        idle_cores=idle_cores,
        memory_bytes=available - psutil.virtual_memory().available,
        pss_bytes=Uses(**family.pss_bytes()),
        descriptors=Uses(**family.descriptors()),
        threads=family.threads(),
    )


class _Spending:
    """CPU time since it was made, as it was when it was looked at last.

    Attributes:
        machine_s: of the whole machine, less that of this process.
        roles_s: by role.

    """

    def __init__(self, family: Family) -> None:
        self._family = family
        self._machine_s, self._own_s, self._roles_s = busy_seconds(), time.process_time(), family.cpu_seconds()
        self.look()

    def look(self) -> None:
        """Take it in."""
        own_s, now = time.process_time() - self._own_s, self._family.cpu_seconds()
        self.machine_s = max(0.0, busy_seconds() - self._machine_s - own_s)
        self.roles_s = Uses(**{role: now[role] - self._roles_s[role] for role in now})


async def until_still(
    client: Client, wanted: int, look: Callable[[], None], *, still_seconds: float = _STILL_SECONDS
) -> tuple[int, str]:
    """Wait until all run, or no more come; return how many do, and which gate holds the others.

    `look` is called whenever there are more than before. Those that come and go, because they are evicted, are no more.
    """
    most, moment = 0, time.monotonic()
    while True:
        status = await client.status()
        running = next((one.count for one in status.task_counts if one.state == task_pb2.TASK_STATE_RUNNING), 0)
        if running > most:
            most, moment = running, time.monotonic()
            look()
        if running == wanted:
            return running, ""
        if time.monotonic() - moment > still_seconds:
            return running, _gate(status)
        await asyncio.sleep(_POLL_SECONDS)


def _gate(status: pb.GetStatusResponse) -> str:
    held = max(status.gate_counts, key=lambda one: one.count, default=None)
    return task_pb2.GateKind.Name(held.gate).removeprefix("GATE_KIND_") if held else ""


async def _why(client: Client) -> str:
    """Return what the gate says of one that waits; of one that failed, why."""
    async for task in client.list(states=[task_pb2.TASK_STATE_QUEUED, task_pb2.TASK_STATE_FAILED]):
        return task.gate.detail or task.failure.message
    return ""


async def _idle_cores(family: Family, agents: int) -> Uses:
    began, used = time.monotonic(), family.cpu_seconds()
    await asyncio.sleep(max(_IDLE_SECONDS, agents * _IDLE_EACH_SECONDS))
    lasted = time.monotonic() - began
    spent = family.cpu_seconds()
    return Uses(**{role: (spent[role] - used[role]) / lasted for role in spent})


async def _release(client: Client, ids: Sequence[str], gate: Path) -> float | None:
    """Let all agents go; return how long it took until these had ended, None if they do not."""
    latest = released = time.time()
    with gate.open("r+b", buffering=0), suppress(TimedOut):  # open for both, so that it does not wait for a reader
        async for task in client.as_ended(ids, timeout_seconds=30 + len(ids) / 20):
            latest = max(latest, task.end_time.ToNanoseconds() / 1e9)
        return latest - released
    return None


async def _room(client: Client, family: Family) -> Room:
    machine = (await client.status()).hosts[0].machine
    free = machine.memory_free_bytes - machine.headroom_bytes
    return Room(max(0, free), family.most_descriptors(), await asyncio.to_thread(processes_left))


def _until_running_s(tasks: Sequence[task_pb2.Task]) -> float:
    """Return seconds from the first submission until the last of those that run began to."""
    first = min(task.create_time.ToNanoseconds() for task in tasks)
    last = max(task.attempts[-1].start_time.ToNanoseconds() for task in tasks)
    return (last - first) / 1e9
