"""The zygote of an environment as its host sees it: what was asked of it and not yet answered, and its restarts."""

import asyncio
import os
import resource
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from hundredfold.internal.v1 import host_service_pb2, zygote_pb2
from hundredfold.restart_budget import RestartBudget
from hundredfold.v1 import behaviour_pb2, task_pb2

from hundredfold_host.containment.contract import Containment, Group
from hundredfold_host.output import OutputPipe
from hundredfold_host.proc import resident_bytes
from hundredfold_host.worker import AttemptId, Exit, Worker, attempt_id
from hundredfold_host.zygote_process import IMPORT_SECONDS, ZygoteProcess

_FORKS_AT_ONCE: Final = 16
_RESTARTS: Final = 5
_RESTART_PERIOD_SECONDS: Final = 60.0
_ERROR_LIMIT: Final = 16 * 1024


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

    def zygote_died(self) -> None:
        """A zygote has ended by itself: a child that it has not told of may be left."""


@dataclass(slots=True)
class _Launch:
    """A fork that was asked for; `pipes` are the worker's standard output and error."""

    command: host_service_pb2.Launch
    pipes: tuple[OutputPipe, OutputPipe]
    group: Group


class Zygote:
    """The zygote of one environment; started again when it dies, as often as its budget allows.

    Args:
        preload: what it is to import, and for whom.
        containment: what its workers are held by.
        events: who is told.
        idle_seconds: how long its process is kept while nothing of it runs; None for always.

    """

    def __init__(
        self, preload: zygote_pb2.Preload, containment: Containment, events: Events, idle_seconds: float | None
    ) -> None:
        self._preload = preload
        self._containment = containment
        self._events = events
        self._idle_seconds = idle_seconds
        self._loop = asyncio.get_running_loop()
        self._idle: asyncio.TimerHandle | None = None
        self._restart: asyncio.TimerHandle | None = None
        self._budget = RestartBudget(_RESTARTS, _RESTART_PERIOD_SECONDS)
        self._process: ZygoteProcess | None = None
        self._ready = False
        self._single_use = False
        self._inherited_bytes = 0
        self._retired = False
        self._waiting: dict[AttemptId, host_service_pb2.Launch] = {}
        self._forking: dict[AttemptId, _Launch] = {}
        self._reaping: dict[int, Worker] = {}
        self._forked_pids: set[int] = set()
        self.environment = behaviour_pb2.Environment(name=preload.environment, spec=preload.spec)
        self._set_state(behaviour_pb2.ENVIRONMENT_STATE_STARTING)
        self._start()

    @property
    def pid(self) -> int | None:
        """Its process; None while it has none."""
        return self._process.pid if self._process else None

    def launch(self, command: host_service_pb2.Launch) -> None:
        """Fork a worker, as soon as the environment is ready. Idempotent by attempt."""
        key = attempt_id(command.attempt)
        if self.environment.state == behaviour_pb2.ENVIRONMENT_STATE_FAILED:
            self._events.launch_failed(command.attempt, f"its environment cannot run: {self.environment.error}")
        elif key not in self._forking:
            self._waiting[key] = command
            if self.resting:
                self._start_again()
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
        if self._process and worker.pid in self._forked_pids:
            self._process.ask(zygote_pb2.ZygoteRequest(reap=zygote_pb2.Reap(pid=worker.pid)))
        else:
            self._reap_own(worker)  # its zygote died before it did, or has become it: it is the host's own child

    def retire(self) -> None:
        """End the process as soon as nothing of it runs, and say nothing more of its environment: another one does."""
        self._retired = True
        self._idle_seconds = 0
        self.forget_waiting()
        self._rest_when_idle()

    @property
    def resting(self) -> bool:
        """Whether it has no process, and will have none before the next launch."""
        return self._process is None and self._restart is None

    def stop(self) -> None:
        """End the zygote; its workers are not touched. The next launch would start it again."""
        if self._restart:
            self._restart.cancel()
            self._restart = None
        if self._process:
            self._process.stop()
            self._process = None
            self._ready = False

    def _start(self) -> None:
        self._restart = None
        self._process = ZygoteProcess(self._preload, self._handle, self._died)

    def _start_again(self) -> None:
        try:
            self._start()
        except OSError as error:  # that passes: the next launch tries again
            self._set_state(behaviour_pb2.ENVIRONMENT_STATE_READY)
            waiting, self._waiting = self._waiting, {}
            for command in waiting.values():
                reason = f"its interpreter cannot be started: {error}"
                self._events.launch_failed(command.attempt, reason, transient=True)

    def _fork_waiting(self) -> None:
        """Ask for the next forks; a bounded number at once, so that the dead are not reaped behind a long queue."""
        at_once = 1 if self._single_use else _FORKS_AT_ONCE
        while self._ready and self._waiting and len(self._forking) < at_once:
            self._fork(self._waiting.pop(next(iter(self._waiting))))

    def _fork(self, command: host_service_pb2.Launch) -> None:
        assert self._process  # noqa: S101  # it is ready
        opened: list[int] = []
        pipes: list[OutputPipe] = []
        group = self._containment.make(command.limits)
        try:
            opened.append(_credential(command.credential))
            for stream in (task_pb2.OUTPUT_STREAM_STDOUT, task_pb2.OUTPUT_STREAM_STDERR):
                pipes.append(OutputPipe(stream))
                opened.append(pipes[-1].writer)
            opened += group.join_files(threads=self._single_use)
        except OSError as error:
            _release(opened, pipes, group)
            reason = f"the host has no descriptors left for it: {error.strerror}"
            self._events.launch_failed(command.attempt, reason, transient=True)
            return
        self._forking[attempt_id(command.attempt)] = _Launch(command, (pipes[0], pipes[1]), group)
        request = zygote_pb2.Fork(
            attempt=command.attempt, behaviour=command.behaviour, descriptors=command.limits.descriptors
        )
        self._process.ask(zygote_pb2.ZygoteRequest(fork=request), opened)

    def _handle(self, reply: zygote_pb2.ZygoteReply, descriptors: list[int]) -> None:
        kind = reply.WhichOneof("kind")
        if kind == "forked":
            self._forked(reply.forked)
        elif kind == "reaped":
            self._reaped(reply.reaped)
        elif kind == "fork_failed":
            launch = self._forking.pop(attempt_id(reply.fork_failed.attempt))
            self._abandon(launch, reply.fork_failed.reason, transient=True)
        elif kind == "ready":
            self._became_ready(reply.ready, descriptors[0])
        self._fork_waiting()
        self._rest_when_idle()

    def _became_ready(self, reply: zygote_pb2.Ready, descriptor: int) -> None:
        with os.fdopen(descriptor, "rb") as file:
            file.seek(0)
            self.environment.ParseFromString(file.read())
        self.environment.report_time.GetCurrentTime()
        self._report()
        self._single_use = reply.single_use
        self._inherited_bytes = resident_bytes(self.pid) if self.pid else 0
        self._ready = True

    def _forked(self, reply: zygote_pb2.Forked) -> None:
        launch = self._forking.pop(attempt_id(reply.attempt))
        if reply.pid == self.pid:
            self._let_process_go()
        else:
            self._forked_pids.add(reply.pid)
        try:
            worker = Worker(launch.command, reply.pid, launch.pipes, launch.group, self._events.worker_exited)
        except OSError as error:
            self._lose(reply.pid)
            self._abandon(launch, f"the host cannot watch it: {error.strerror}")  # it may have begun
        else:
            worker.inherited_bytes = self._inherited_bytes
            self._events.launched(worker)

    def _lose(self, pid: int) -> None:
        """Kill a worker that cannot be watched. Nobody has reaped it, so the pid is no stranger's."""
        os.kill(pid, signal.SIGKILL)
        if self._process and pid in self._forked_pids:
            self._process.ask(zygote_pb2.ZygoteRequest(reap=zygote_pb2.Reap(pid=pid)))

    def _let_process_go(self) -> None:
        """Its process has become a worker: start the next one, which imports everything again meanwhile."""
        assert self._process  # noqa: S101  # it has just said so
        self._process.let_go()
        self._process = None
        self._ready = False
        if not self._retired:
            self._start_again()

    def _reaped(self, reply: zygote_pb2.Reaped) -> None:
        self._forked_pids.discard(reply.pid)
        worker = self._reaping.pop(reply.pid, None)
        if worker:
            worker.reaped(Exit(reply.status, reply.max_rss_bytes, reply.cpu_seconds))
            self._events.worker_reaped(worker)

    def _reap_own(self, worker: Worker) -> None:
        self._reaping.pop(worker.pid, None)
        try:
            _, status, usage = os.wait4(worker.pid, 0)
            worker.reaped(Exit(status, usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime))
        except ChildProcessError:
            pass  # the zygote reaped it and died before it could say so: how it ended stays unknown
        self._events.worker_reaped(worker)

    def _rest_when_idle(self) -> None:
        """End the process after a while if nothing of it runs then; who opens many environments needs no more room."""
        if self._idle:
            self._idle.cancel()
        if self._idle_seconds is not None and not self.resting:
            self._idle = self._loop.call_later(self._idle_seconds, self._rest)

    def _rest(self) -> None:
        starting = self.environment.state == behaviour_pb2.ENVIRONMENT_STATE_STARTING
        if (self._retired or not starting) and not (self._waiting or self._forking or self._forked_pids):
            self.stop()

    def _died(self, status: int) -> None:
        """Start it again, as soon as its budget allows.

        What it was forking has failed; what it had forked is the host's own child now.
        """
        assert self._process  # noqa: S101  # it is what has died
        last_words, self._process, self._ready = self._process.last_words, None, False
        self._forked_pids.clear()
        self._events.zygote_died()  # first of all: what it forked without a word may have begun
        forking, self._forking = self._forking, {}
        for launch in forking.values():
            self._abandon(launch, "its zygote died while it was forking")
        for worker in list(self._reaping.values()):
            self._reap_own(worker)
        if self._retired:
            return
        if self.environment.report_time.seconds == 0:
            self._fail(status, last_words)
        else:
            self._restart_in_time(status)

    def _restart_in_time(self, status: int) -> None:
        delay = self._budget.delay(self._loop.time())
        if delay:
            died = f"its zygote dies too often, this time with {_describe(status)}"
            self.environment.warning = f"{died}; it is started again in {delay:.0f} s"
        self._set_state(behaviour_pb2.ENVIRONMENT_STATE_STARTING)
        self._restart = self._loop.call_later(delay, self._start_again)

    def _fail(self, status: int, last_words: str) -> None:
        slow = f", which is what happens after {IMPORT_SECONDS:g} s" if status == -signal.SIGKILL else ""
        problem = f"importing its plugins ended the process with {_describe(status)}{slow}"
        self.environment.error = f"{problem}\n{last_words}"[:_ERROR_LIMIT].strip()
        self._set_state(behaviour_pb2.ENVIRONMENT_STATE_FAILED)
        waiting, self._waiting = self._waiting, {}
        for command in waiting.values():
            self.launch(command)

    def _abandon(self, launch: _Launch, reason: str, *, transient: bool = False) -> None:
        _release([], launch.pipes, launch.group)
        self._events.launch_failed(launch.command.attempt, reason, transient=transient)

    def _set_state(self, state: behaviour_pb2.EnvironmentState.ValueType) -> None:
        self.environment.state = state
        self._report()

    def _report(self) -> None:
        if not self._retired:
            self._events.environment_changed(self.environment)


def _credential(secret: str) -> int:
    """Return a descriptor that a secret can be read from."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.write(writer, secret.encode())  # shorter than PIPE_BUF, so this cannot block
    os.close(writer)
    return reader


def _release(opened: list[int], pipes: Iterable[OutputPipe], group: Group) -> None:
    """Undo what was done for a launch."""
    for descriptor in opened:
        os.close(descriptor)
    for pipe in pipes:
        pipe.close()
    group.release()


def _describe(status: int) -> str:
    return f"exit code {status}" if status >= 0 else f"signal {-status}"


def raise_open_files() -> int:
    """Raise this process's soft limit of open files to the hard one; return what it was.

    A host holds a pidfd and two pipes for every worker.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft
