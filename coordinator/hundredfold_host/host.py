"""The host's wiring: commands of the coordinator in, zygotes and workers below, reports out.

This process outlives a coordinator that crashes or is replaced, and ends itself and its workers when none has come
back for `orphan_seconds`.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Coroutine
from typing import Any, Final

from hundredfold import prctl
from hundredfold.identity import identity
from hundredfold.internal.v1 import host_service_pb2 as pb
from hundredfold.internal.v1 import records_pb2, zygote_pb2
from hundredfold.v1 import attempt_pb2, behaviour_pb2, coordinator_service_pb2

from hundredfold_host import eviction, proc, receipt, sweep
from hundredfold_host.containment.contract import Containment
from hundredfold_host.containment.hierarchies import own_cgroups
from hundredfold_host.link import Link
from hundredfold_host.machine import CALM_SECONDS, SAMPLE_SECONDS, MachineMonitor, News
from hundredfold_host.monitor import Monitor
from hundredfold_host.worker import AttemptId, Worker, attempt_id
from hundredfold_host.zygote import Zygote, raise_open_files

_SWEEP_AGAIN_SECONDS: Final = 0.01
_SWEEP_LIMIT_SECONDS: Final = 5.0
_ORPHAN_GRACE_SECONDS: Final = 2.0
_LAST_WORDS_SECONDS: Final = 2.0


class Host:
    """One host process; its attempts are held by `containment`."""

    def __init__(self, config: pb.HostConfig, containment: Containment) -> None:
        self._config = config
        self._machine = MachineMonitor(own_cgroups(), config.memory_reserve_bytes)
        self._news = News()
        self._launched = asyncio.Event()
        self._containment = containment
        self._orphan_seconds = config.orphan_time.ToTimedelta().total_seconds()
        self._grace_seconds = _ORPHAN_GRACE_SECONDS
        self._open_files = raise_open_files()
        self._zygotes: dict[str, Zygote] = {}
        self._stale: set[str] = set()
        self._retired: list[Zygote] = []
        self._workers: dict[AttemptId, Worker] = {}
        self._zygote_of: dict[AttemptId, Zygote] = {}
        self._unwanted: dict[AttemptId, float] = {}
        self._ended: list[Worker] = []
        self._sweeping = False
        self._epoch = 0
        self._stopping: asyncio.Event = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._link = Link(config.address, config.secret, self._hello, self._obey)

    async def run(self) -> None:
        """Serve until told to shut down, refused, or left alone for too long."""
        prctl.adopt_orphans()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._stopping.set)
        self._spawn(self._link.run())
        self._spawn(self._watch_attempts())
        self._spawn(self._watch_machine())
        await self._stopping.wait()
        await self._end_everything(self._grace_seconds)

    # What the coordinator wants -------------------------------------------------------------------------------------

    async def _obey(self, response: pb.AttachResponse) -> None:
        for command in response.commands:
            kind = command.WhichOneof("kind")
            if kind == "welcome":
                self._welcome(command.welcome)
            elif kind == "launch":
                self._launch(command.launch)
            elif kind == "acknowledge":
                self._link.acknowledge(command.acknowledge.number)
            elif kind == "kill":
                self._kill(command.kill)
            elif kind == "open_environment":
                self._open_environment(command.open_environment)
            elif kind == "follow":
                self._follow(command.follow)
            elif kind == "shutdown":
                self._grace_seconds = command.shutdown.grace.ToTimedelta().total_seconds()
                self._stopping.set()

    def _welcome(self, welcome: pb.Welcome) -> None:
        if welcome.epoch < self._epoch:
            return  # an older coordinator that has not noticed yet; it cannot commit anything either
        if welcome.epoch > self._epoch:
            self._stale = set(self._zygotes)  # what this coordinator was started with may be another version of it
        self._epoch = welcome.epoch
        # Before it hears of any environment: until it knows what is free, a coordinator could only believe in it.
        self._report_usage(pb.Usage(machine=self._machine.sample()))
        for zygote in self._zygotes.values():
            for key in zygote.forget_waiting():
                self._zygote_of.pop(key, None)
                self._unwanted.pop(key, None)
            self._link.mention(pb.HostReport(environment=zygote.environment))

    def _open_environment(self, command: pb.OpenEnvironment) -> None:
        if command.name in self._stale:
            self._stale.discard(command.name)
            self._retire(self._zygotes.pop(command.name))
        if command.name not in self._zygotes:
            try:
                preload = zygote_pb2.Preload(
                    environment=command.name,
                    spec=command.spec,
                    worker_address=self._config.address,
                    open_files=self._open_files,
                )
                idle = command.idle_time.ToTimedelta().total_seconds() if command.HasField("idle_time") else None
                self._zygotes[command.name] = Zygote(preload, self._containment, self, idle)
            except OSError as error:
                self.environment_changed(
                    behaviour_pb2.Environment(
                        name=command.name,
                        spec=command.spec,
                        state=behaviour_pb2.ENVIRONMENT_STATE_FAILED,
                        error=f"its interpreter cannot be started: {error}",
                    )
                )

    def _retire(self, zygote: Zygote) -> None:
        """Let a zygote go on for as long as workers of it live, and start none any more."""
        self._retired = [other for other in self._retired if not other.resting]
        self._retired.append(zygote)
        zygote.retire()

    def _launch(self, command: pb.Launch) -> None:
        key = attempt_id(command.attempt)
        zygote = self._zygotes.get(command.environment)
        if key in self._workers:
            self.launched(self._workers[key])
        elif zygote is None:
            self.launch_failed(command.attempt, f"this host has no environment {command.environment!r}")
        else:
            self._zygote_of[key] = zygote
            zygote.launch(command)

    def _kill(self, command: pb.Kill) -> None:
        key = attempt_id(command.attempt)
        grace = command.grace.ToTimedelta().total_seconds()
        if key in self._workers:
            self._workers[key].end(command.cause or attempt_pb2.KILL_CAUSE_REQUESTED, grace)
        elif key in self._zygote_of and self._zygote_of[key].is_launching(key):
            self._unwanted[key] = grace

    def _follow(self, command: pb.Follow) -> None:
        worker = self._workers.get(attempt_id(command.attempt))
        if worker:
            worker.follow(self._send_output if command.on else None)

    def _send_output(self, chunk: pb.OutputChunk) -> bool:
        """Send a piece of output, unless too much is waiting already; return whether it was sent."""
        if self._link.crowded:
            return False
        self._link.mention(pb.HostReport(output=chunk))
        return True

    # What zygotes tell (`zygote.Events`) ------------------------------------------------------------------------------

    def environment_changed(self, environment: behaviour_pb2.Environment) -> None:
        """See `zygote.Events`."""
        snapshot = behaviour_pb2.Environment()
        snapshot.CopyFrom(environment)
        self._link.mention(pb.HostReport(environment=snapshot))

    def launched(self, worker: Worker) -> None:
        """See `zygote.Events`."""
        key = attempt_id(worker.key)
        self._workers[key] = worker
        self._launched.set()
        self._link.report(pb.HostReport(launched=pb.Launched(attempt=worker.key, process=worker.identity)))
        if key in self._unwanted:
            worker.end(attempt_pb2.KILL_CAUSE_REQUESTED, self._unwanted.pop(key))

    def launch_failed(self, key: pb.AttemptKey, reason: str, *, transient: bool = False) -> None:
        """See `zygote.Events`."""
        self._zygote_of.pop(attempt_id(key), None)
        self._unwanted.pop(attempt_id(key), None)
        failed = pb.LaunchFailed(attempt=key, reason=reason, transient=transient)
        self._link.report(pb.HostReport(launch_failed=failed))

    def worker_exited(self, worker: Worker) -> None:
        """See `zygote.Events`."""
        self._zygote_of[attempt_id(worker.key)].reap(worker)

    def worker_reaped(self, worker: Worker) -> None:
        """See `zygote.Events`."""
        self._ended.append(worker)
        self._sweep_soon()

    def zygote_died(self) -> None:
        """See `zygote.Events`."""
        sweep.kill_strays(self._known(set()), [])
        self._sweep_soon()

    # The end of workers -----------------------------------------------------------------------------------------------

    def _sweep_soon(self) -> None:
        if not self._sweeping:
            self._sweeping = True
            # Not at once: workers that ended in the same moment share one sweep.
            asyncio.get_running_loop().call_soon(lambda: self._spawn(self._sweep()))

    async def _sweep(self) -> None:
        while self._sweeping:
            ended, self._ended = self._ended, []
            survivors = await self._kill_trees(ended)
            for worker in ended:
                key = attempt_id(worker.key)
                del self._workers[key], self._zygote_of[key]
                exited = pb.Exited(attempt=worker.key, receipt=receipt.write(worker, survivors))
                self._link.report(pb.HostReport(exited=exited))
            self._sweeping = bool(self._ended)

    async def _kill_trees(self, ended: list[Worker]) -> int:
        """Kill until nothing is left; return what survived the time limit, which is 0 unless the kernel holds it."""
        for _ in range(int(_SWEEP_LIMIT_SECONDS / _SWEEP_AGAIN_SECONDS)):
            # Groups first: what is killed there at once need not be looked for.
            alive = sum(worker.kill_group() for worker in ended)
            alive = max(alive, sweep.kill_strays(self._known({worker.pid for worker in ended}), ended))
            if not alive:
                return 0
            await asyncio.sleep(_SWEEP_AGAIN_SECONDS)
        return alive

    def _known(self, gone: set[int]) -> set[int]:
        """Return the pids of this process's children that are no strays; `gone` are workers that were reaped."""
        zygotes = {zygote.pid for zygote in (*self._zygotes.values(), *self._retired) if zygote.pid}
        return zygotes | ({worker.pid for worker in self._workers.values()} - gone)

    async def _end_everything(self, grace_seconds: float) -> None:
        # Workers first, zygotes after them: a zygote that lives can still say how its workers ended.
        for worker in self._workers.values():
            worker.end(attempt_pb2.KILL_CAUSE_HOST_ENDED, grace_seconds)
        while self._workers:
            await asyncio.sleep(_SWEEP_AGAIN_SECONDS)
        for zygote in (*self._zygotes.values(), *self._retired):
            zygote.stop()
        self._zygotes.clear()
        self._retired.clear()
        await self._kill_trees([])
        self._containment.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                while not (self._link.idle or self._link.alone_seconds):
                    await asyncio.sleep(_SWEEP_AGAIN_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Looking around ---------------------------------------------------------------------------------------------------

    async def _watch_attempts(self) -> None:
        monitor = Monitor(self._workers, self._config.sample_interval.ToTimedelta().total_seconds())
        while True:
            usages, pause = monitor.sweep()
            if self._link.refused or self._link.alone_seconds > self._orphan_seconds:
                self._stopping.set()
            if usages:
                self._report_usage(pb.Usage(machine=self._machine.sample(), attempts=usages))
            await asyncio.sleep(pause)

    async def _watch_machine(self) -> None:
        while True:
            self._launched.clear()
            sample = self._machine.sample()
            self._evict(sample)
            if self._news.is_worth_a_word(sample, len(self._workers)):
                self._report_usage(pb.Usage(machine=sample))
            await asyncio.sleep(SAMPLE_SECONDS)
            if self._machine.is_calm(sample) or not self._workers:
                with contextlib.suppress(TimeoutError):  # whoever launches waits to hear what that has come to
                    await asyncio.wait_for(self._launched.wait(), CALM_SECONDS - SAMPLE_SECONDS)

    def _report_usage(self, usage: pb.Usage) -> None:
        if not (self._link.alone_seconds or self._link.crowded):
            usage.machine.workers_pss_bytes = sum(worker.use.pss_bytes for worker in self._workers.values())
            self._link.mention(pb.HostReport(usage=usage))

    def _evict(self, machine: coordinator_service_pb2.Machine) -> None:
        """End as many attempts as it takes when the machine runs short of memory."""
        soon = machine.memory_free_bytes - machine.memory_growth_bytes * eviction.AHEAD_SECONDS
        if soon > machine.headroom_bytes or not machine.headroom_bytes:
            return
        candidates = self._candidates()
        dying = sum(proc.private_bytes(worker.pid) for worker in self._workers.values() if worker.ending)
        needed = eviction.shortage_bytes(machine, dying, eviction.growth_ahead(machine, candidates))
        now = eviction.shortage_bytes(machine, dying, 0)
        for victim in eviction.choose(candidates, needed, now):
            self._workers[victim.key].evict(eviction.sentence(machine, victim))

    def _candidates(self) -> list[eviction.Candidate]:
        return [
            eviction.Candidate(
                key,
                max(worker.use.pss_bytes, proc.private_bytes(worker.pid)),
                worker.launch.reservation_bytes,
                worker.launch.priority,
                worker.forked.monotonic_ns,
                worker.launch.evictable,
            )
            for key, worker in self._workers.items()
            if not worker.ending
        ]

    def _hello(self) -> pb.Hello:
        return pb.Hello(
            host_id=self._config.host_id,
            process=identity(os.getpid()) or records_pb2.ProcessIdentity(),
            inventory=[pb.Launched(attempt=w.key, process=w.identity) for w in self._workers.values()],
        )

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self._stop_on_error)

    def _stop_on_error(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and task.exception():
            self._stopping.set()  # a host that has lost a part of itself would lie; a new one will be started
            raise SystemExit(1) from task.exception()
