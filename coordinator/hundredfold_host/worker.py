"""A worker as its host sees it: a pidfd, two pipes, and a ladder to the end.

See also: `hundredfold_host.sweep`, which makes sure that nothing of its tree outlives it.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hundredfold.identity import identity
from hundredfold.internal.v1 import host_service_pb2, records_pb2
from hundredfold.v1 import attempt_pb2, task_pb2

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
        samples: number of samples of its memory.

    """

    pss_bytes: int = 0
    peak_pss_bytes: int = 0
    cpu_seconds: float = 0
    processes: int = 1
    samples: int = 0


@dataclass(slots=True)
class Exit:
    """How a worker ended: its wait status, and what the kernel counted. Status -1: nobody knows."""

    status: int = -1
    max_rss_bytes: int = 0
    cpu_seconds: float = 0


_UNKNOWN_EXIT: Final = Exit()


class Worker:
    """One worker process, from its fork to its receipt.

    Args:
        key: the attempt it runs.
        pid: its process; the zygote keeps it from being reaped until this object has its pidfd.
        pipes: its standard output and error.
        on_exit: called once, when the process has ended and before it is reaped.

    Raises:
        ProcessLookupError: the process is gone already, and reaped.

    """

    def __init__(
        self,
        key: host_service_pb2.AttemptKey,
        pid: int,
        pipes: tuple[OutputPipe, OutputPipe],
        on_exit: Callable[["Worker"], None],
    ) -> None:
        self.key = key
        self.pid = pid
        self.use = Use()
        self.leftovers: set[int] = set()
        self.exit = _UNKNOWN_EXIT
        self._pipes = pipes
        self._on_exit = on_exit
        self._kill_signals: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._started = time.monotonic()
        self._ended = 0.0
        self._loop = asyncio.get_running_loop()
        self._pidfd = os.pidfd_open(pid)
        self.identity = identity(pid) or records_pb2.ProcessIdentity(pid=pid)
        self._loop.add_reader(self._pidfd, self._exited)

    def kill(self, grace_seconds: float) -> None:
        """Ask it to end, and end it after the grace time; with none, end it now."""
        if grace_seconds > 0:
            self._send(signal.SIGTERM)
            # Being told again is no respite.
            if self._timer is None or self._timer.when() > self._loop.time() + grace_seconds:
                self._rearm(self._loop.call_later(grace_seconds, self.kill, 0))
        else:
            self._rearm(None)
            self._send(signal.SIGKILL)

    def follow(self, send: Callable[[host_service_pb2.OutputChunk], bool] | None) -> None:
        """Pass its output on, or stop passing it on; what `send` does not take is counted with the next piece."""
        lost = 0

        def sink(output: task_pb2.Output) -> None:
            nonlocal lost
            output.dropped_bytes += lost
            taken = send is None or send(host_service_pb2.OutputChunk(attempt=self.key, output=output))
            lost = 0 if taken else output.dropped_bytes + len(output.data)

        chosen: Sink | None = sink if send else None
        for pipe in self._pipes:
            pipe.follow(chosen)

    def receipt(self, survivors: int) -> attempt_pb2.Receipt:
        """Return the proof of its end, and release what is held for it."""
        for pipe in self._pipes:
            pipe.close()
        out, err = self._pipes
        receipt = attempt_pb2.Receipt(
            peak_pss_bytes=self.use.peak_pss_bytes,
            max_rss_bytes=self.exit.max_rss_bytes,
            samples=self.use.samples,
            leftovers_killed=len(self.leftovers),
            survivors=survivors,
            stdout_tail=out.tail,
            stderr_tail=err.tail,
            dropped_bytes=out.total + err.total - len(out.tail) - len(err.tail),
            kill_signals=self._kill_signals,
        )
        receipt.cpu_time.FromNanoseconds(int(max(self.exit.cpu_seconds, self.use.cpu_seconds) * 1e9))
        receipt.wall_time.FromNanoseconds(int((self._ended - self._started) * 1e9))
        if self.exit.status >= 0 and os.WIFEXITED(self.exit.status):
            receipt.exit_code = os.WEXITSTATUS(self.exit.status)
        elif self.exit.status >= 0:
            receipt.signal = os.WTERMSIG(self.exit.status)
        return receipt

    def _exited(self) -> None:
        self._ended = time.monotonic()
        self._rearm(None)
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        self._on_exit(self)

    def _send(self, number: signal.Signals) -> None:
        if self._pidfd >= 0:
            self._kill_signals.append(number.name.removeprefix("SIG"))
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _rearm(self, timer: asyncio.TimerHandle | None) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = timer
