"""A zygote as its host sees it: a child process, a socket pair, and what was asked of it and not yet answered."""

import asyncio
import collections
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Final, Protocol

from hundredfold.internal.v1 import host_service_pb2, zygote_pb2
from hundredfold.v1 import behaviour_pb2, task_pb2

from hundredfold_host.output import OutputPipe
from hundredfold_host.packets import Packets
from hundredfold_host.worker import AttemptId, Exit, Worker, attempt_id

_FORKS_AT_ONCE: Final = 16
_IMPORT_SECONDS: Final = 120.0
_RESTARTS: Final = 5
_RESTART_PERIOD_SECONDS: Final = 60.0
_ERROR_LIMIT: Final = 16 * 1024
# numpy and its relatives start threads at import unless they are told not to.
_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Events(Protocol):
    """Who is told what a zygote does."""

    def environment_changed(self, environment: behaviour_pb2.Environment) -> None:
        """The environment is starting, ready or failed."""

    def launched(self, worker: Worker) -> None:
        """A worker exists."""

    def launch_failed(self, key: host_service_pb2.AttemptKey, reason: str, *, transient: bool = False) -> None:
        """A worker could not be made; for want of something that may be there again soon, if it is transient."""

    def worker_exited(self, worker: Worker) -> None:
        """A worker has ended; it is not reaped yet."""

    def worker_reaped(self, worker: Worker) -> None:
        """A worker's exit is known."""


@dataclass(slots=True)
class _Launch:
    """A fork that was asked for; `pipes` are the worker's standard output and error."""

    command: host_service_pb2.Launch
    pipes: tuple[OutputPipe, OutputPipe] | None = None


class Zygote:
    """The zygote of one environment; restarted when it dies, a limited number of times.

    Args:
        preload: what it is to import, and for whom.
        events: who is told.
        idle_seconds: how long its process is kept while nothing of it runs; None for always.

    """

    def __init__(self, preload: zygote_pb2.Preload, events: Events, idle_seconds: float | None) -> None:
        self._preload = preload
        self._events = events
        self._idle_seconds = idle_seconds
        self._idle: asyncio.TimerHandle | None = None
        self._resting = False
        self._retired = False
        self._deaths: collections.deque[float] = collections.deque(maxlen=_RESTARTS)
        self._waiting: dict[AttemptId, _Launch] = {}
        self._forking: dict[AttemptId, _Launch] = {}
        self._reaping: dict[int, Worker] = {}
        self._forked_pids: set[int] = set()
        self.environment = behaviour_pb2.Environment(name=preload.environment, spec=preload.spec)
        self._start()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def launch(self, command: host_service_pb2.Launch) -> None:
        """Fork a worker, as soon as the environment is ready. Idempotent by attempt."""
        key = attempt_id(command.attempt)
        if self.environment.state == behaviour_pb2.ENVIRONMENT_STATE_FAILED:
            self._events.launch_failed(command.attempt, f"its environment cannot run: {self.environment.error}")
        elif self.environment.state == behaviour_pb2.ENVIRONMENT_STATE_STARTING:
            self._waiting[key] = _Launch(command)
        elif self._resting:
            self._waiting[key] = _Launch(command)
            self._start_again()
        elif key not in self._forking:
            self._waiting[key] = _Launch(command)
            self._fork_waiting()

    def forget_waiting(self) -> list[AttemptId]:
        """Drop launches that were not begun, and return them: who wanted them is not there any more."""
        forgotten = list(self._waiting)
        self._waiting.clear()
        return forgotten

    def is_launching(self, key: AttemptId) -> bool:
        """Whether a fork for this attempt was asked for and not answered yet."""
        return key in self._forking or key in self._waiting

    def reap(self, worker: Worker) -> None:
        """Learn how a worker ended; `worker_reaped` follows."""
        self._reaping[worker.pid] = worker
        if worker.pid in self._forked_pids:
            self._send(zygote_pb2.ZygoteRequest(reap=zygote_pb2.Reap(pid=worker.pid)))
        else:
            self._reap_adopted(worker)  # its zygote died before it did: it is the host's own child by now

    def retire(self) -> None:
        """End the process as soon as nothing of it runs, and say nothing more of its environment: another one does."""
        self._retired = True
        self._idle_seconds = 0
        self.forget_waiting()
        self._rest_when_idle()

    @property
    def resting(self) -> bool:
        """Whether it has no process at the moment."""
        return self._resting

    def stop(self) -> None:
        """End the zygote; its workers are not touched. The next launch would start it again."""
        if self._resting:
            return
        self._resting = True
        self._close()
        self._process.kill()
        self._process.wait()

    def _start(self) -> None:
        self._resting = False
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._output = OutputPipe(task_pb2.OUTPUT_STREAM_STDERR)
        self._set_state(behaviour_pb2.ENVIRONMENT_STATE_STARTING)
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [
                        *(self._preload.spec.python or sys.executable, "-P", "-m", "hundredfold_worker"),
                        str(theirs.fileno()),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=self._output.writer,
                    stderr=self._output.writer,
                    pass_fds=[theirs.fileno()],
                    env={**_ONE_THREAD, **os.environ},
                )
        except OSError:
            ours.close()
            self._output.close()
            raise
        finally:
            os.close(self._output.writer)
        self._packets = Packets(ours, self._handle, self._died)
        self._import_limit = asyncio.get_running_loop().call_later(_IMPORT_SECONDS, self._process.kill)
        self._send(zygote_pb2.ZygoteRequest(preload=self._preload))

    def _fork_waiting(self) -> None:
        """Ask for the next forks; a bounded number at once, so that the dead are not reaped behind a long queue."""
        while self._waiting and len(self._forking) < _FORKS_AT_ONCE:
            key = next(iter(self._waiting))
            self._forking[key] = self._waiting.pop(key)
            self._fork(self._forking[key])

    def _fork(self, launch: _Launch) -> None:
        command = launch.command
        try:
            launch.pipes = (OutputPipe(task_pb2.OUTPUT_STREAM_STDOUT), OutputPipe(task_pb2.OUTPUT_STREAM_STDERR))
            reader, writer = os.pipe2(os.O_CLOEXEC)
        except OSError as error:
            del self._forking[attempt_id(command.attempt)]
            self._abandon(launch, f"the host has no descriptors left for it: {error.strerror}", transient=True)
            return
        os.write(writer, command.credential.encode())  # shorter than PIPE_BUF, so this cannot block
        os.close(writer)
        request = zygote_pb2.Fork(attempt=command.attempt, behaviour=command.behaviour)
        self._send(zygote_pb2.ZygoteRequest(fork=request), [reader, *(pipe.writer for pipe in launch.pipes)])

    def _send(self, request: zygote_pb2.ZygoteRequest, descriptors: list[int] | None = None) -> None:
        self._packets.send(request.SerializeToString(), descriptors)

    def _handle(self, data: bytes, descriptors: list[int]) -> None:
        reply = zygote_pb2.ZygoteReply.FromString(data)
        kind = reply.WhichOneof("kind")
        if kind == "forked":
            self._forked(reply.forked)
        elif kind == "reaped":
            self._reaped(reply.reaped)
        elif kind == "fork_failed":
            launch = self._forking.pop(attempt_id(reply.fork_failed.attempt))
            self._abandon(launch, reply.fork_failed.reason, transient=True)
            self._fork_waiting()
            self._rest_when_idle()
        elif kind == "ready":
            self._ready(descriptors[0])

    def _reaped(self, reply: zygote_pb2.Reaped) -> None:
        self._forked_pids.discard(reply.pid)
        worker = self._reaping.pop(reply.pid, None)
        if worker:
            worker.exit = Exit(reply.status, reply.max_rss_bytes, reply.cpu_seconds)
            self._events.worker_reaped(worker)
        self._rest_when_idle()

    def _ready(self, descriptor: int) -> None:
        self._import_limit.cancel()
        with os.fdopen(descriptor, "rb") as file:
            file.seek(0)
            self.environment.ParseFromString(file.read())
        self.environment.report_time.GetCurrentTime()
        self._report()
        self._fork_waiting()
        self._rest_when_idle()

    def _rest_when_idle(self) -> None:
        """End the process after a while if nothing of it runs then; who opens many environments needs no more room."""
        if self._idle:
            self._idle.cancel()
        if self._idle_seconds is not None and not self._resting:
            self._idle = asyncio.get_running_loop().call_later(self._idle_seconds, self._rest)

    def _rest(self) -> None:
        starting = self.environment.state == behaviour_pb2.ENVIRONMENT_STATE_STARTING
        if not starting and not (self._waiting or self._forking or self._forked_pids):
            self.stop()

    def _forked(self, reply: zygote_pb2.Forked) -> None:
        launch = self._forking.pop(attempt_id(reply.attempt))
        assert launch.pipes  # noqa: S101  # set when the fork was asked for
        self._forked_pids.add(reply.pid)
        try:
            worker = Worker(reply.attempt, reply.pid, launch.pipes, self._events.worker_exited)
        except OSError as error:
            os.kill(reply.pid, signal.SIGKILL)  # nobody has reaped it, so it is no stranger
            self._send(zygote_pb2.ZygoteRequest(reap=zygote_pb2.Reap(pid=reply.pid)))
            self._abandon(launch, f"the host cannot watch it: {error.strerror}")  # it may have begun
        else:
            self._events.launched(worker)
        self._fork_waiting()

    def _died(self) -> None:
        """Start it again within its budget.

        What it was forking has failed; what it had forked is the host's own child now.
        """
        self._close()
        self._process.kill()  # it may have closed its end and live
        status = self._process.wait()
        self._deaths.append(time.monotonic())
        self._forked_pids.clear()
        forking, self._forking = self._forking, {}
        for launch in forking.values():
            self._abandon(launch, "its zygote died while it was forking")
        for worker in list(self._reaping.values()):
            self._reap_adopted(worker)
        if self._retired:
            self._resting = True
        elif len(self._deaths) == _RESTARTS and time.monotonic() - self._deaths[0] < _RESTART_PERIOD_SECONDS:
            self._fail(f"its zygote died {_RESTARTS} times in a minute, the last time with {_describe(status)}")
        elif self.environment.report_time.seconds == 0:
            slow = f", which is what happens after {_IMPORT_SECONDS:g} s" if status == -signal.SIGKILL else ""
            self._fail(f"importing its plugins ended the process with {_describe(status)}{slow}")
        else:
            self._start_again()

    def _start_again(self) -> None:
        try:
            self._start()
        except OSError as error:  # that passes: the next launch tries again
            self._resting = True
            self._set_state(behaviour_pb2.ENVIRONMENT_STATE_READY)
            waiting, self._waiting = self._waiting, {}
            for launch in waiting.values():
                self._abandon(launch, f"its interpreter cannot be started: {error}", transient=True)

    def _reap_adopted(self, worker: Worker) -> None:
        self._reaping.pop(worker.pid, None)
        try:
            _, status, usage = os.wait4(worker.pid, 0)
            worker.exit = Exit(status, usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime)
        except ChildProcessError:
            pass  # the zygote reaped it and died before it could say so: how it ended stays unknown
        self._events.worker_reaped(worker)

    def _fail(self, problem: str) -> None:
        tail = self._output.tail.decode(errors="replace").strip()
        self.environment.error = f"{problem}\n{tail}"[:_ERROR_LIMIT].strip()
        self._set_state(behaviour_pb2.ENVIRONMENT_STATE_FAILED)
        waiting, self._waiting = self._waiting, {}
        for launch in waiting.values():
            self.launch(launch.command)

    def _abandon(self, launch: _Launch, reason: str, *, transient: bool = False) -> None:
        for pipe in launch.pipes or ():
            pipe.close()
        self._events.launch_failed(launch.command.attempt, reason, transient=transient)

    def _set_state(self, state: behaviour_pb2.EnvironmentState.ValueType) -> None:
        self.environment.state = state
        self._report()

    def _report(self) -> None:
        if not self._retired:
            self._events.environment_changed(self.environment)

    def _close(self) -> None:
        self._import_limit.cancel()
        self._packets.close()
        self._output.close()


def _describe(status: int) -> str:
    return f"exit code {status}" if status >= 0 else f"signal {-status}"


def raise_open_files() -> int:
    """Raise this process's soft limit of open files to the hard one; return what it was.

    A host holds a pidfd and two pipes for every worker.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft
