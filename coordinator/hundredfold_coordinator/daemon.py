"""The daemon: the only place that wires the coordinator together, starts it, and takes it apart again."""

import asyncio
import gc
import logging
import os
import random
import secrets
import time
from collections.abc import Callable, Coroutine
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import uvloop
from hundredfold import oom, paths
from hundredfold.errors import DataDirectoryBusy, Fenced, InvalidSetting, StoreUnfinished, StoreUnreachable
from hundredfold.hooks import COORDINATOR_GROUP
from hundredfold.identity import identity
from hundredfold.internal.v1 import host_service_pb2, records_pb2
from hundredfold.manager import PluginManager
from hundredfold.v1 import behaviour_pb2

from hundredfold_coordinator import keys, systemd
from hundredfold_coordinator.ballast import Ballast
from hundredfold_coordinator.burials import Burials
from hundredfold_coordinator.config import Config
from hundredfold_coordinator.contexts import Contexts
from hundredfold_coordinator.copying import is_unfinished
from hundredfold_coordinator.core import events
from hundredfold_coordinator.core.effects import Effect
from hundredfold_coordinator.core.recovery import recover
from hundredfold_coordinator.core.state import AttemptId, State
from hundredfold_coordinator.deletions import Deletions
from hundredfold_coordinator.derived import default_environment_of, host_config_of, limits_of
from hundredfold_coordinator.ended import EndedTasks
from hundredfold_coordinator.environments import DEFAULT, Environments
from hundredfold_coordinator.fail_stop import fail_stop
from hundredfold_coordinator.heartbeat import Heartbeat
from hundredfold_coordinator.host_processes import HostProcesses
from hundredfold_coordinator.host_watch import HostWatch
from hundredfold_coordinator.hosts import Hosts
from hundredfold_coordinator.hub import Hub
from hundredfold_coordinator.inputs import RecentInputs
from hundredfold_coordinator.journal import Journal
from hundredfold_coordinator.lease import await_vacancy, take_lease
from hundredfold_coordinator.lock import DataDirectoryLock, stand_by
from hundredfold_coordinator.memory import Memory, extract
from hundredfold_coordinator.outage import Outage
from hundredfold_coordinator.performer import Performer
from hundredfold_coordinator.retention import Retention, RetentionPolicy
from hundredfold_coordinator.room import Room
from hundredfold_coordinator.servers import ApiServer, ClientServices, WorkerServer, tcp_token
from hundredfold_coordinator.services.coordinator_service import CoordinatorService
from hundredfold_coordinator.services.host_service import HostService
from hundredfold_coordinator.services.memory_service import MemoryService
from hundredfold_coordinator.services.session_service import SessionService
from hundredfold_coordinator.services.store_service import StoreService
from hundredfold_coordinator.services.task_service import TaskService
from hundredfold_coordinator.services.worker_service import WorkerService
from hundredfold_coordinator.sessions import Sessions
from hundredfold_coordinator.stopping import END_SIGNALS, Stopping
from hundredfold_coordinator.storage import Storage
from hundredfold_coordinator.task_ids import take_up_ids

OnReady = Callable[[list[str]], None]
_log: Final = logging.getLogger(__name__)
_POLL_SECONDS: Final = 0.02
_HOST_END_SECONDS: Final = 5.0


class Daemon:
    """One coordinator. `run` returns when it has stopped; `on_ready` is called with its addresses when it serves."""

    def __init__(self, config: Config, on_ready: OnReady) -> None:
        self._config = config
        self._on_ready = on_ready

    async def run(self) -> None:
        """Serve until told to stop.

        Raises:
            HundredfoldError: it cannot start, or the store has failed.

        """
        lock = DataDirectoryLock(self._config.data_dir)
        for directory in (self._config.data_dir, self._config.runtime_dir):
            _make_private(directory)
        plugins = _plugins()
        shared = plugins.is_store_shared(self._config.store)
        # Before anything is bound: a second server would steal the sockets of the first.
        if not self._config.standby:
            lock.acquire()
        elif not shared and not await stand_by(lock.wait(), END_SIGNALS):
            return
        self._room = _room(self._config)
        self._outage = Outage(self._config.store_patience_seconds, fail_stop)
        storage = Storage(self._room, self._outage, fail_stop)
        heartbeat = self._heartbeat()
        keeper = asyncio.ensure_future(self._outage.run(storage.probe))
        try:
            await self._open_store(storage, plugins)
            if shared:
                await heartbeat.open(lambda: plugins.open_store(self._config.store))
            if await stand_by(self._claim(storage, lock), END_SIGNALS):
                if shared:
                    heartbeat.begin(storage.guard)
                await self._serve(storage)
                if shared:
                    await heartbeat.end()
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            await heartbeat.close()
            await storage.close()
            lock.release()

    # Starting ---------------------------------------------------------------------------------------------------------

    async def _serve(self, storage: Storage) -> None:
        self._storage = storage
        await storage.index(keys.VECTOR, extract)
        self._wire(storage)
        await self._recover()
        sockets = [paths.api_socket(self._config.runtime_dir), paths.worker_socket(self._config.runtime_dir)]
        self._version = metadata.version("hundredfold")
        self._processes = HostProcesses(
            storage,
            host_config_of(self._config, sockets[1]),
            self._host_lost,
            wanted=self._config.hosts,
            version=self._version,
        )
        self._outage.refuse_reads()
        writer = asyncio.ensure_future(self._journal.run())
        keepers = [asyncio.ensure_future(keeper) for keeper in self._keepers()]
        try:
            await self._start_servers(*sockets)
            await self._until_stopped(writer)
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
            self._journal.stop()
            self._room.give_up()
            self._outage.give_up()
            await asyncio.gather(writer, return_exceptions=True)
            for path in sockets:
                path.unlink(missing_ok=True)

    def _wire(self, storage: Storage) -> None:
        """Make everything that works on this store, and nothing yet that runs."""
        self._state = State(limits_of(self._config), lambda: secrets.token_urlsafe(32), random.random)
        self._stopping = Stopping(self._config, lambda: len(self._state.alive), lambda: len(self._state.tasks))
        self._journal = Journal(self._state, storage, self._perform)
        self._room.watch(self._room_changed)
        self._outage.watch(self._outage_changed)
        self._hosts = Hosts()
        self._hub = Hub(self._follow)
        self._environments = Environments(self._config.environment_idle_seconds)
        self._sessions, self._inputs = Sessions(storage), RecentInputs()
        self._memory = Memory(storage, self._environments.check_embedder)
        self._deletions = Deletions(storage, self._memory.settled)
        self._contexts = Contexts(self._state, storage, self._sessions, self._inputs)
        burials = Burials(self._journal.post)
        self._performer = Performer(self._hosts, self._hub, burials, self._contexts, self._journal.post)
        self._ended = EndedTasks(self._state, storage, self._journal)

    def _keepers(self) -> list[Coroutine[Any, Any, None]]:
        """Return what goes on beside the servers, for as long as they serve."""
        config = self._config
        policy = RetentionPolicy(config.retention_tasks, config.retention_seconds, config.dead_letter_retention_seconds)
        return [
            Retention(policy, self._state, self._storage, self._ended).run(),
            self._deletions.run(),
            self._room.run(),
            HostWatch(self._hosts, self._journal.post, self._processes.kill).run(),
        ]

    def _heartbeat(self) -> Heartbeat:
        config = self._config
        return Heartbeat(config.lease_seconds, config.store_patience_seconds, self._outage.begin, fail_stop)

    async def _claim(self, storage: Storage, lock: DataDirectoryLock) -> None:
        """Take the lease, as soon as nobody else has it; whoever has it may have the data directory, too, and hang."""
        holder = identity(os.getpid()) or records_pb2.ProcessIdentity()
        while True:
            if storage.capabilities.shared:
                await await_vacancy(storage, self._config.lease_seconds, standby=self._config.standby)
            try:
                self._epoch = await take_lease(storage, holder, self._config.lease_seconds)
            except Fenced:
                if not self._config.standby:
                    raise
            else:
                break
        try:
            lock.acquire()
        except DataDirectoryBusy as busy:
            _log.warning("%s; it has lost the lease, and the store refuses it", busy)

    async def _open_store(self, storage: Storage, plugins: PluginManager) -> None:
        await storage.open(lambda: plugins.open_store(self._config.store))
        if await storage.look(is_unfinished):
            raise StoreUnfinished(storage.url)
        if not storage.capabilities.durable and not self._config.volatile:
            raise InvalidSetting("store", f"is {storage.url}, which loses everything; pass --volatile to accept that")

    async def _recover(self) -> None:
        self._environments.add(DEFAULT, default_environment_of(self._config))
        self._ids = await take_up_ids(self._storage)
        self._state.deleted_version = await self._sessions.deleted_version()
        live = [entry.key[len(keys.LIVE) :].decode() for entry in await self._storage.scan_all(keys.LIVE)]
        found = await self._storage.get_all(list(map(keys.task, live)))
        records = [records_pb2.TaskRecord.FromString(record.value) for record in found if record]
        drops = [records_pb2.DropRecord.FromString(one.record.value) for one in await self._storage.scan_all(keys.DROP)]
        # In a thread: a hundred thousand take seconds, and the lease has to be kept meanwhile. Nobody else is here yet.
        for alarm in await asyncio.to_thread(recover, self._state, records, time.time_ns(), drops):
            self._performer.perform(alarm)
        needed = {record.task.spec.environment for record in records}
        for entry in await self._storage.scan_all(keys.FOOTPRINT):
            known = records_pb2.FootprintRecord.FromString(entry.record.value)
            self._state.footprints[known.behaviour] = known
        for entry in await self._storage.scan_all(keys.ENVIRONMENT):
            environment = behaviour_pb2.Environment.FromString(entry.record.value)
            if environment.name in needed:
                self._environments.add(environment.name, environment.spec)
        if records:
            _log.info("took up %d live task(s)", len(records))

    async def _start_servers(self, api: Path, worker: Path) -> None:
        limit = self._config.max_payload_bytes
        token = tcp_token(self._config.data_dir) if self._config.listen else None
        self._api_server = ApiServer(limit, token)
        await self._api_server.start(api, self._config.listen, self._client_services())
        # Hosts are known before they are listened to: one that is refused ends itself and its agents.
        await self._processes.begin()
        for host_id in set(self._state.alive.values()):
            if not self._processes.knows(host_id):  # its end was noticed, but not recorded any more
                self._host_lost(host_id)
        self._worker_server = WorkerServer(limit)
        workers = WorkerService(
            self._state, self._journal, self._hosts, self._sessions, self._memory, self._contexts, limit
        )
        await self._worker_server.start(worker, workers, self._host_service())
        await self._api_server.set_serving(serving=True)

    def _client_services(self) -> ClientServices:
        limit = self._config.max_payload_bytes
        tasks = TaskService(
            self._state,
            self._storage,
            self._journal,
            self._hub,
            self._environments,
            self._inputs,
            self._ended,
            self._ids,
            limit,
        )
        coordinator = CoordinatorService(
            self._config,
            self._epoch,
            self._state,
            self._storage,
            self._journal,
            self._hosts,
            self._environments,
            self._processes.all,
            self._version,
            self._stopping.stop,
        )
        sessions = SessionService(self._state, self._storage, self._journal, self._sessions, self._deletions, limit)
        memory = MemoryService(self._state, self._storage, self._memory, self._deletions, limit)
        return ClientServices(tasks, sessions, memory, coordinator, StoreService(self._storage))

    def _host_service(self) -> HostService:
        return HostService(
            self._journal,
            self._hosts,
            self._hub,
            self._environments,
            self._processes.authenticate,
            self._epoch,
            self._version,
            self._state.residents.attempt_of,
        )

    # Serving and stopping ---------------------------------------------------------------------------------------------

    async def _until_stopped(self, writer: "asyncio.Future[None]") -> None:
        self._stopping.listen()
        _log.info("serving, epoch %d, store %s", self._epoch, self._storage.url)
        systemd.notify("READY=1")
        self._on_ready(self._api_server.addresses)
        ordered = asyncio.ensure_future(self._stopping.wait())
        ends: set[asyncio.Future[Any]] = {writer, ordered}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        ordered.cancel()
        self._processes.stopping = True
        try:
            if writer.done():
                await writer  # raises what ended it; nothing more can be committed
            await self._drain(writer)
        finally:
            await self._api_server.stop(1)
            await self._worker_server.stop()

    async def _drain(self, writer: "asyncio.Future[None]") -> None:
        systemd.notify("STOPPING=1")
        await self._api_server.set_serving(serving=False)
        self._journal.post(events.DrainBegan(now_ns=time.time_ns(), reply=None))
        began, killed = time.monotonic(), False
        while self._state.alive and not writer.done():
            order = self._stopping.order
            if order is None or order.keep_agents:
                break
            overdue = time.monotonic() - began - order.drain_seconds
            if overdue >= 0 and (self._room.stuck or self._outage.stuck):
                break  # no order to end an agent leaves before it is recorded; the end of the hosts ends them
            if overdue >= 0 and all(map(self._processes.is_elsewhere, self._state.alive.values())):
                break  # nobody here can end them; the next coordinator waits for their end again
            if not killed and overdue >= 0:
                killed = True
                grace = order.grace_seconds
                self._journal.post(events.DrainExpired(now_ns=time.time_ns(), grace_seconds=grace))
            elif overdue >= order.grace_seconds + _HOST_END_SECONDS:
                self._processes.kill_all()  # a host that does not do its work: its death ends its workers, too
            await asyncio.sleep(_POLL_SECONDS)
        if self._stopping.order and not self._stopping.order.keep_agents:
            await self._end_hosts()

    async def _end_hosts(self) -> None:
        deadline = time.monotonic() + _HOST_END_SECONDS
        while self._processes.alive:
            # Again and again: a host that is still starting attaches in the middle of this.
            self._hosts.broadcast(host_service_pb2.HostCommand(shutdown=host_service_pb2.Shutdown()))
            if time.monotonic() > deadline:
                self._processes.kill_all()
            await asyncio.sleep(_POLL_SECONDS)

    # Small wires ------------------------------------------------------------------------------------------------------

    def _perform(self, effect: Effect) -> None:
        self._performer.perform(effect)

    def _follow(self, attempt: AttemptId, *, on: bool) -> None:
        host = self._state.alive.get(attempt)
        if host:
            self._hosts.follow(host, self._state.residents.key_of(attempt), on=on)

    def _room_changed(self, full: bool) -> None:  # noqa: FBT001  # it is what the call is about
        self._journal.post(events.StoreRoomChanged(now_ns=time.time_ns(), full=full))

    def _outage_changed(self, error: StoreUnreachable | None) -> None:
        self._journal.post(events.StoreOutageChanged(now_ns=time.time_ns(), error=error))

    def _host_lost(self, host_id: str) -> None:
        self._journal.post(events.HostLost(now_ns=time.time_ns(), host=host_id))
        self._hosts.keep_only(self._state.alive)


def serve(config: Config, on_ready: OnReady) -> None:
    """Run a coordinator in this process until it is told to stop.

    Raises:
        HundredfoldError: it cannot start, or the store has failed.

    """

    async def main() -> None:
        await Daemon(config, on_ready).run()

    oom.protect()
    # What was imported is no garbage, and a full collection would look at it for 30 ms again and again.
    gc.collect()
    gc.freeze()
    uvloop.run(main())  # about a tenth less CPU than the standard loop


def _plugins() -> PluginManager:
    plugins = PluginManager(COORDINATOR_GROUP)
    plugins.discover()
    for plugin in plugins.plugins:
        if plugin.error:
            _log.warning("plugin %s could not be used: %s", plugin.name, plugin.error)
    return plugins


def _room(config: Config) -> Room:
    try:
        return Room(Ballast(config.data_dir / "ballast", config.ballast_bytes))
    except OSError as error:
        raise InvalidSetting("ballast_bytes", f"cannot be kept in {config.data_dir}: {error.strerror}") from error


def _make_private(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidSetting("data_dir", f"cannot have {directory}: {error.strerror}") from error
    if directory.stat().st_uid != os.getuid():
        raise InvalidSetting("data_dir", f"is {directory}, which belongs to another user")
    if directory.stat().st_mode & 0o077:
        raise InvalidSetting("data_dir", f"is {directory}, which others can look into; chmod 700 it, or name another")
