"""The processes of hosts: started by exec, recorded in the store before they may attach, watched through pidfds.

A host of an earlier coordinator is taken up where its process still lives; where it does not, what it ran is lost. One
that looks for its coordinator elsewhere is ended; one that may be on another machine is lost when it has ended itself.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from hundredfold.identity import identity, is_of_here, open_process
from hundredfold.internal.v1 import host_service_pb2, records_pb2
from hundredfold.restart_budget import RestartBudget
from hundredfold.stores.contract import Batch, Write

from hundredfold_coordinator import keys
from hundredfold_coordinator.storage import Storage

_log: Final = logging.getLogger(__name__)
_PAUSE_SECONDS: Final = 1.0
_STORE_VARIABLE: Final = "HUNDREDFOLD_STORE"
"""May have a password in it, and no agent has any business with the store."""
_NOTICE_SECONDS: Final = 15.0
"""How long it may take a host to notice that its coordinator is stopped: a ping, its timeout, another connection."""
_RESTARTS: Final = 5
_RESTART_PERIOD_SECONDS: Final = 60.0


@dataclass(slots=True)
class HostProcess:
    """A host that was started and has not ended, as far as is known."""

    record: records_pb2.HostRecord
    pidfd: int


class HostProcesses:
    """Keeps `wanted` hosts of this version alive; those of another one end when they have nothing left to run.

    Args:
        storage: where hosts are recorded.
        template: what every host is told, beside its identity and secret.
        on_lost: called with the id of a host whose process has ended; it takes the record out of the store, in the
            commit that gives up what the host ran.

    """

    def __init__(
        self,
        storage: Storage,
        template: host_service_pb2.HostConfig,
        on_lost: Callable[[str], None],
        *,
        wanted: int,
        version: str,
    ) -> None:
        self._wanted = wanted
        self._version = version
        self._storage = storage
        self._template = template
        self._on_lost = on_lost
        self._processes: dict[str, HostProcess] = {}
        self._elsewhere: set[str] = set()
        self._starting: asyncio.Task[None] | None = None
        self._budget = RestartBudget(_RESTARTS, _RESTART_PERIOD_SECONDS)
        self.stopping = False

    async def begin(self) -> None:
        """Take up the hosts that live, give up those that do not, and start as many as are missing."""
        for entry in await self._storage.scan_all(keys.HOST):
            record = records_pb2.HostRecord.FromString(entry.record.value)
            pidfd = open_process(record.process)
            if pidfd is not None:
                self._take_up(HostProcess(record, pidfd))
            elif self._may_be_elsewhere(record):
                self._await_end(record)
            else:
                self._on_lost(record.host_id)
        while self._missing():
            await self.start()

    async def start(self) -> None:
        """Start a host. Its secret travels in a pipe; the store keeps a digest of it."""
        host_id = "host-" + secrets.token_hex(4)
        secret = secrets.token_urlsafe(32)
        config = host_service_pb2.HostConfig(host_id=host_id, secret=secret)
        config.MergeFrom(self._template)
        process = _spawn(config)
        digest = sha256(secret.encode()).digest()
        record = records_pb2.HostRecord(
            host_id=host_id,
            secret_hash=digest,
            version=self._version,
            address=config.address,
            orphan_time=config.orphan_time,
        )
        record.process.CopyFrom(identity(process.pid) or records_pb2.ProcessIdentity(pid=process.pid))
        # It cannot attach before this is known, and nothing is launched on it before it has attached.
        self._watch(HostProcess(record, os.pidfd_open(process.pid)))
        await self._storage.commit([Batch([Write(keys.host(host_id), record.SerializeToString())])])

    def authenticate(self, secret: str) -> records_pb2.HostRecord | None:
        """Return the record of the host that has this secret."""
        digest = sha256(secret.encode()).digest()
        for process in self._processes.values():
            if secrets.compare_digest(process.record.secret_hash, digest):
                return process.record
        return None

    def knows(self, host_id: str) -> bool:
        """Whether the process of a host lives, or may live, as far as is known."""
        return host_id in self._processes or self.is_elsewhere(host_id)

    def is_elsewhere(self, host_id: str) -> bool:
        """Whether a host may live on another machine, where nobody can end it but itself."""
        return host_id in self._elsewhere

    @property
    def alive(self) -> bool:
        """Whether any host's process lives."""
        return bool(self._processes)

    def all(self) -> list[records_pb2.HostRecord]:
        """Return the records of the hosts whose processes live."""
        return [process.record for process in self._processes.values()]

    def kill(self, host_id: str) -> None:
        """Kill a host; `on_lost` follows."""
        process = self._processes.get(host_id)
        if process:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(process.pidfd, signal.SIGKILL)

    def kill_all(self) -> None:
        """Kill every host; `on_lost` follows for each."""
        for host_id in self._processes:
            self.kill(host_id)

    def _missing(self) -> bool:
        current = [process for process in self._processes.values() if process.record.version == self._version]
        return len(current) < self._wanted

    def _take_up(self, process: HostProcess) -> None:
        self._watch(process)
        record = process.record
        # Only where coordinators of several data directories can be meant: what it runs could go on, but not be heard.
        if self._storage.capabilities.shared and record.address and record.address != self._template.address:
            _log.warning("host %s attaches at %s, where no coordinator is: it is ended", record.host_id, record.address)
            self.kill(record.host_id)

    def _may_be_elsewhere(self, record: records_pb2.HostRecord) -> bool:
        return self._storage.capabilities.shared and not is_of_here(record.process)

    def _await_end(self, record: records_pb2.HostRecord) -> None:
        """Give up what a host runs when it has noticed that it is alone, and ended it: not to have it run twice."""
        seconds = record.orphan_time.ToNanoseconds() / 1e9 + _NOTICE_SECONDS
        _log.warning(
            "host %s may live on another machine or container: what it runs is lost in %g s",
            record.host_id,
            seconds,
        )
        self._elsewhere.add(record.host_id)
        asyncio.get_running_loop().call_later(seconds, self._give_up, record.host_id)

    def _give_up(self, host_id: str) -> None:
        self._elsewhere.discard(host_id)
        self._on_lost(host_id)

    def _watch(self, process: HostProcess) -> None:
        self._processes[process.record.host_id] = process
        asyncio.get_running_loop().add_reader(process.pidfd, self._ended, process)

    def _ended(self, process: HostProcess) -> None:
        asyncio.get_running_loop().remove_reader(process.pidfd)
        os.close(process.pidfd)
        del self._processes[process.record.host_id]
        _reap(process.record.process.pid)
        if not self.stopping:
            _log.warning("host %s (pid %d) has ended", process.record.host_id, process.record.process.pid)
        self._starting = asyncio.ensure_future(self._replace(process.record.host_id))

    async def _replace(self, host_id: str) -> None:
        self._on_lost(host_id)
        while self._missing() and not self.stopping:
            await asyncio.sleep(self._budget.delay(time.monotonic()))
            if self.stopping or not self._missing():
                return
            try:
                await self.start()
            except OSError as error:  # no memory, no process left: that passes
                _log.warning("no host can be started: %s", error)
                await asyncio.sleep(_PAUSE_SECONDS)


def _spawn(config: host_service_pb2.HostConfig) -> "subprocess.Popen[bytes]":
    reader, writer = os.pipe()
    # In a session of its own: it outlives this process, and no Ctrl-C meant for this one reaches it.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "hundredfold_host", str(reader)],
        pass_fds=[reader],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        env={name: value for name, value in os.environ.items() if name != _STORE_VARIABLE},
    )
    os.close(reader)
    with os.fdopen(writer, "wb") as file:
        file.write(config.SerializeToString())
    return process


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):  # an earlier coordinator had started it
        os.waitpid(pid, 0)
