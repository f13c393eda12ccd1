"""A worker as its host sees it: a pidfd, two pipes, and a ladder to the end.

Its limits are held here and in its group, whether there is a coordinator or not.

See also: `hundredfold_host.sweep`, which makes sure that nothing of its tree outlives it; `hundredfold_host.receipt`.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from hundredfold.alarm import Alarm
from hundredfold.identity import identity
from hundredfold.internal.v1 import host_service_pb2, records_pb2
from hundredfold.v1 import attempt_pb2, task_pb2
from hundredfold.waiting import is_waiting

from hundredfold_host.containment.contract import Group
from hundredfold_host.output import OutputPipe, Sink

AttemptId = tuple[str, int]
"""Task id and attempt number: an attempt as a dictionary key."""


def attempt_id(key: host_service_pb2.AttemptKey) -> AttemptId:
    """Return the dictionary key of an attempt."""
    return key.task_id, key.number


@dataclass(slots=True)
class Use:
    """What a worker's tree was seen to use.

    Attributes:
        pss_bytes: proportional set size at the last sample.
        peak_pss_bytes: the highest one.
        cpu_seconds: CPU time at the last sample.
        processes: processes at the last sample.
        most_processes: the highest number of them.
        threads: threads of all of them at the last sample.
        descriptors: open ones of all of them at the last sample of memory.
        startup_cpu_seconds: CPU time after its first second; None before that.
        cpu_wait_seconds: time in which its processes waited for a CPU, as far as it was seen.
        startup_wait_seconds: that after its first second.
        samples: number of samples of its memory.

    """

    pss_bytes: int = 0
    peak_pss_bytes: int = 0
    cpu_seconds: float = 0
    processes: int = 1
    most_processes: int = 1
    threads: int = 1
    descriptors: int = 0
    startup_cpu_seconds: float | None = None
    cpu_wait_seconds: float = 0
    startup_wait_seconds: float = 0
    samples: int = 0


@dataclass(slots=True)
class Exit:
    """How a worker ended: its wait status, and what the kernel counted. Status -1: nobody knows."""

    status: int = -1
    max_rss_bytes: int = 0
    cpu_seconds: float = 0


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment, for people and for differences: nanoseconds of the wall clock and of a monotonic one."""

    wall_ns: int
    monotonic_ns: int

    @classmethod
    def now(cls) -> Self:
        """Return this one."""
        return cls(time.time_ns(), time.monotonic_ns())


_UNKNOWN_EXIT: Final = Exit()
_RESPITE_STEP_SECONDS: Final = 0.5
_RESPITE_SECONDS: Final = 60.0
"""How long in all a worker that waits for a coordinator may outlive its wall limit; its own word is all there is."""


class Worker:
    """One worker process, from its fork to its receipt.

    Args:
        launch: the attempt it runs, and what that may use. Its wall limit counts from here on.
        pid: its process; the zygote keeps it from being reaped until this object has its pidfd.
        pipes: its standard output and error.
        group: what holds its process tree together.
        on_exit: called once, when the process has ended and before it is reaped.

    Raises:
        ProcessLookupError: the process is gone already, and reaped.

    """

    def __init__(
        self,
        launch: host_service_pb2.Launch,
        pid: int,
        pipes: tuple[OutputPipe, OutputPipe],
        group: Group,
        on_exit: Callable[["Worker"], None],
    ) -> None:
        self.key = launch.attempt
        self.launch = launch
        self.limits = launch.limits
        self.pid = pid
        self.pipes = pipes
        self.group = group
        self.use = Use()
        self.leftovers: set[int] = set()
        self.eviction = ""
        self.inherited_bytes = 0
        self.kill_signals: list[str] = []
        self.cause = attempt_pb2.KILL_CAUSE_UNSPECIFIED
        self.forked = self.exited = Moment.now()
        self.exit = _UNKNOWN_EXIT
        self._grace_seconds = launch.grace.ToTimedelta().total_seconds()
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._pidfd = os.pidfd_open(pid)
        self.identity = identity(pid) or records_pb2.ProcessIdentity(pid=pid)
        self._loop.add_reader(self._pidfd, self._exited)
        self._kill_alarm: Alarm | None = None
        self._wall_alarm: Alarm | None = None
        self._respite_seconds = _RESPITE_SECONDS
        self._watch_the_clock(self.limits.wall_time.ToTimedelta().total_seconds())

    def end(self, cause: attempt_pb2.KillCause.ValueType, grace_seconds: float) -> None:
        """Ask it to end, and end it after the grace time; with none, end it now. The first cause counts."""
        if self._pidfd < 0:
            return
        self.cause = self.cause or cause
        if grace_seconds > 0:
            self._send(signal.SIGTERM)
            # Being told again is no respite.
            if self._kill_alarm is None or self._kill_alarm.due > self._loop.time() + grace_seconds:
                self._rearm(Alarm(self._loop, grace_seconds, self._kill))
        else:
            self._kill()

    @property
    def ending(self) -> bool:
        """Whether it was told to end, or has ended."""
        return bool(self.cause) or self._pidfd < 0

    def evict(self, why: str) -> None:
        """End it now, to save the machine."""
        self.eviction = why
        self.end(attempt_pb2.KILL_CAUSE_EVICTED, 0)

    def enforce_use(self) -> None:
        """End it if it was seen to have used more CPU time, or to have written more, than it may."""
        limit = self.limits.cpu_time.ToNanoseconds() / 1e9
        if limit and self.use.cpu_seconds > limit:
            self.end(attempt_pb2.KILL_CAUSE_CPU_LIMIT, self._grace_seconds)
        if self.limits.output_bytes and sum(pipe.total for pipe in self.pipes) > self.limits.output_bytes:
            self.end(attempt_pb2.KILL_CAUSE_OUTPUT_LIMIT, self._grace_seconds)

    def enforce_memory(self) -> None:
        """End it if it was seen to have used more memory than it may."""
        enforcer = self.group.memory_enforcer
        over = enforcer == attempt_pb2.ENFORCER_POLLING and self.use.pss_bytes > self.limits.memory_bytes
        # Where a cgroup holds the limit, the kernel may have killed a child of it only.
        if over or (enforcer == attempt_pb2.ENFORCER_CGROUP and self.group.memory_kills()):
            self.end(attempt_pb2.KILL_CAUSE_MEMORY_LIMIT, 0)

    def enforce_processes(self) -> None:
        """End it if it was seen to have more processes than it may, where nothing but looking holds that."""
        if self.group.process_enforcer == attempt_pb2.ENFORCER_POLLING and self.use.threads > self.limits.processes:
            self.end(attempt_pb2.KILL_CAUSE_PROCESS_LIMIT, 0)

    def kill_group(self) -> int:
        """Kill what its group still holds, after its own end; return how many there were."""
        found = self.group.kill()
        self.leftovers |= found
        return len(found)

    def follow(self, send: Callable[[host_service_pb2.OutputChunk], bool] | None) -> None:
        """Pass its output on, or stop passing it on; what `send` does not take is counted with the next piece."""
        lost = 0

        def sink(output: task_pb2.Output) -> None:
            nonlocal lost
            output.dropped_bytes += lost
            taken = send is None or send(host_service_pb2.OutputChunk(attempt=self.key, output=output))
            lost = 0 if taken else output.dropped_bytes + len(output.data)

        chosen: Sink | None = sink if send else None
        for pipe in self.pipes:
            pipe.follow(chosen)

    def reaped(self, found: Exit) -> None:
        """Note how it ended."""
        self.exit = found
        # The kernel kills for a limit without a word to anybody; what dies of that is counted there only.
        limited = self.group.memory_enforcer == attempt_pb2.ENFORCER_CGROUP
        if limited and not self.cause and found.status and self.group.memory_kills():
            self.cause = attempt_pb2.KILL_CAUSE_MEMORY_LIMIT

    def close(self) -> None:
        """Release what is held for it."""
        for pipe in self.pipes:
            pipe.close()
        self.group.release()

    def _watch_the_clock(self, seconds: float) -> None:
        self._wall_alarm = Alarm(self._loop, seconds, self._time_is_up) if seconds else None

    def _time_is_up(self) -> None:
        """End it, unless it waits for a coordinator: then its time is not what it takes, and soon it will deliver."""
        if self._respite_seconds > 0 and is_waiting(self.pid):
            self._respite_seconds -= _RESPITE_STEP_SECONDS
            self._watch_the_clock(_RESPITE_STEP_SECONDS)
        else:
            self.end(attempt_pb2.KILL_CAUSE_WALL_LIMIT, self._grace_seconds)

    def _exited(self) -> None:
        self.exited = Moment.now()
        self._rearm(None)
        if self._wall_alarm:
            self._wall_alarm.cancel()
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        self._on_exit(self)

    def _kill(self) -> None:
        self._rearm(None)
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        self.kill_signals.append(number.name.removeprefix("SIG"))
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(self._pidfd, number)

    def _rearm(self, alarm: Alarm | None) -> None:
        if self._kill_alarm:
            self._kill_alarm.cancel()
        self._kill_alarm = alarm
