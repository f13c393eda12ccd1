"""The hosts that are attached: the lines to them, and what they last measured."""

import asyncio
import time
from collections.abc import AsyncIterator, Container

from hundredfold.internal.v1 import host_service_pb2 as pb
from hundredfold.v1 import coordinator_service_pb2

from hundredfold_coordinator.core import effects
from hundredfold_coordinator.core.state import AttemptId


class HostLine:
    """The commands on their way to one host."""

    def __init__(self) -> None:
        self._commands: list[pb.HostCommand] = []
        self._recorded = 0
        self._wake = asyncio.Event()
        self._closed = False

    def send(self, command: pb.HostCommand) -> None:
        """Send a command; those sent in the same moment travel together."""
        self._commands.append(command)
        self._wake.set()

    def acknowledge(self, number: int) -> None:
        """Say that the reports up to `number` are recorded: once for all of one moment."""
        self._recorded = number
        self._wake.set()

    def close(self) -> None:
        """End the stream, after what was sent before."""
        self._closed = True
        self._wake.set()

    async def batches(self) -> AsyncIterator[pb.AttachResponse]:
        """Yield what is to be sent, until the line is closed."""
        while self._commands or self._recorded or not self._closed:
            await self._wake.wait()
            self._wake.clear()
            if commands := self._take():
                yield pb.AttachResponse(commands=commands)

    def _take(self) -> list[pb.HostCommand]:
        commands, self._commands = self._commands, []
        if self._recorded:
            commands.append(pb.HostCommand(acknowledge=pb.Acknowledge(number=self._recorded)))
            self._recorded = 0
        return commands


class Hosts:
    """All attached hosts, by id."""

    def __init__(self) -> None:
        self._lines: dict[str, HostLine] = {}
        self._hosts: dict[str, coordinator_service_pb2.Host] = {}
        self._heard: dict[str, float] = {}
        self.usage: dict[AttemptId, pb.AttemptUsage] = {}

    def attach(self, host_id: str, pid: int) -> HostLine:
        """Open a line to a host, instead of the one there was."""
        self.detach(host_id)
        self._hosts[host_id] = coordinator_service_pb2.Host(id=host_id, pid=pid)
        self._lines[host_id] = HostLine()
        self.heard(host_id)
        return self._lines[host_id]

    def detach(self, host_id: str, line: HostLine | None = None) -> bool:
        """Close the line to a host; with `line`, only if it is that one. Returns whether there was one to close."""
        known = self._lines.get(host_id)
        if known is None or line not in (None, known):
            return False
        known.close()
        del self._lines[host_id], self._hosts[host_id], self._heard[host_id]
        return True

    def heard(self, host_id: str) -> None:
        """Note that a host has said something."""
        self._heard[host_id] = time.monotonic()

    def excuse(self) -> None:
        """Forget how long hosts have said nothing: nobody has listened."""
        self._heard = dict.fromkeys(self._heard, time.monotonic())

    def silences(self) -> dict[str, float]:
        """Return for how many seconds each attached host has said nothing."""
        now = time.monotonic()
        return {host_id: now - heard for host_id, heard in self._heard.items()}

    def get(self, host_id: str) -> coordinator_service_pb2.Host | None:
        """Return an attached host with its last measurements."""
        return self._hosts.get(host_id)

    def measured(self, host_id: str, usage: pb.Usage) -> None:
        """Keep what a host measured."""
        if host_id in self._hosts:
            self._hosts[host_id].machine.CopyFrom(usage.machine)
        for attempt in usage.attempts:
            self.usage[attempt.attempt.task_id, attempt.attempt.number] = attempt

    def keep_only(self, alive: Container[AttemptId]) -> None:
        """Forget what was measured of attempts that are not alive: their host was lost with them."""
        self.usage = {key: usage for key, usage in self.usage.items() if key in alive}

    def gone(self, attempt: AttemptId) -> None:
        """Forget what an attempt used."""
        self.usage.pop(attempt, None)

    def broadcast(self, command: pb.HostCommand) -> None:
        """Send a command to every host."""
        for line in self._lines.values():
            line.send(command)

    def launch(self, effect: effects.Launch) -> None:
        """Have a host start a worker."""
        launch = pb.Launch(
            attempt=_key(effect.attempt),
            environment=effect.environment,
            behaviour=effect.behaviour,
            credential=effect.credential,
            limits=effect.limits,
            reservation_bytes=effect.reservation_bytes,
            priority=effect.priority,
            evictable=effect.evictable,
        )
        launch.grace.FromNanoseconds(int(effect.grace_seconds * 1e9))
        self._send(effect.host, pb.HostCommand(launch=launch))

    def kill(self, effect: effects.Kill) -> None:
        """Have a host end a worker."""
        kill = pb.Kill(attempt=_key(effect.attempt), cause=effect.cause)
        kill.grace.FromNanoseconds(int(effect.grace_seconds * 1e9))
        self._send(effect.host, pb.HostCommand(kill=kill))

    def end(self, host_id: str) -> None:
        """Have a host end."""
        self._send(host_id, pb.HostCommand(shutdown=pb.Shutdown()))

    def acknowledge(self, effect: effects.Acknowledge) -> None:
        """Tell a host that a report is recorded."""
        line = self._lines.get(effect.host)
        if line:
            line.acknowledge(effect.number)

    def follow(self, host_id: str, attempt: AttemptId, *, on: bool) -> None:
        """Have a host send the output of an attempt, or stop sending it."""
        self._send(host_id, pb.HostCommand(follow=pb.Follow(attempt=_key(attempt), on=on)))

    def _send(self, host_id: str, command: pb.HostCommand) -> None:
        """Send, if the host is attached; what one misses is settled when it attaches again."""
        line = self._lines.get(host_id)
        if line:
            line.send(command)


def _key(attempt: AttemptId) -> pb.AttemptKey:
    return pb.AttemptKey(task_id=attempt[0], number=attempt[1])
