"""`HostService`: the stream of one host, translated to events. Served on the worker socket only."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from hundredfold.errors import InvalidArgument, Unauthenticated
from hundredfold.internal.v1 import host_service_pb2 as pb
from hundredfold.internal.v1 import host_service_pb2_grpc, records_pb2
from hundredfold.v1 import behaviour_pb2

from hundredfold_coordinator.core import events
from hundredfold_coordinator.core.state import AttemptId
from hundredfold_coordinator.environments import Environments
from hundredfold_coordinator.hosts import HostLine, Hosts
from hundredfold_coordinator.hub import Hub
from hundredfold_coordinator.journal import Journal
from hundredfold_coordinator.services.edge import bearer


class HostService(host_service_pb2_grpc.HostServiceServicer):
    """See `proto/hundredfold/internal/v1/host_service.proto`.

    `authenticate` returns the record of the host that has a secret, or None; a host that is of another `version` than
    this coordinator is given nothing new. `attempt_of` returns the attempt that a worker is at.
    """

    def __init__(
        self,
        journal: Journal,
        hosts: Hosts,
        hub: Hub,
        environments: Environments,
        authenticate: Callable[[str], records_pb2.HostRecord | None],
        epoch: int,
        version: str,
        attempt_of: Callable[[AttemptId], AttemptId],
    ) -> None:
        self._journal = journal
        self._hosts = hosts
        self._hub = hub
        self._environments = environments
        self._authenticate = authenticate
        self._epoch = epoch
        self._version = version
        self._attempt_of = attempt_of

    async def Attach(
        self, request_iterator: AsyncIterator[pb.AttachRequest], context: Any
    ) -> AsyncIterator[pb.AttachResponse]:
        """See the proto."""
        record = self._authenticate(bearer(context))
        if record is None:
            raise Unauthenticated
        first = await anext(aiter(request_iterator))
        if not first.reports or first.reports[0].WhichOneof("kind") != "hello":
            raise InvalidArgument("reports[0]", "must be hello")
        host_id = record.host_id
        line = self._welcome(host_id, first, retiring=record.version != self._version)
        reader = asyncio.ensure_future(self._read(host_id, line, request_iterator))
        try:
            async for response in line.batches():
                yield response
        finally:
            reader.cancel()
            self._detach(host_id, line)

    def _welcome(self, host_id: str, first: pb.AttachRequest, *, retiring: bool) -> HostLine:
        hello = first.reports[0].hello
        line = self._hosts.attach(host_id, hello.process.pid)
        line.send(pb.HostCommand(welcome=pb.Welcome(epoch=self._epoch)))
        for environment in self._environments.all():
            line.send(self._environments.opening(environment.name))
        # What ended while nobody listened comes first: an attempt that is in neither list was never started.
        self._translate(host_id, first.reports[1:])
        attached = events.HostAttached(
            now_ns=time.time_ns(), host=host_id, inventory=list(hello.inventory), retiring=retiring
        )
        self._journal.post(attached)
        return line

    async def _read(self, host_id: str, line: HostLine, requests: AsyncIterator[pb.AttachRequest]) -> None:
        # The end of this loop says only that the stream has ended; the host's pidfd knows whether the host has.
        try:
            async for request in requests:
                self._hosts.heard(host_id)
                self._translate(host_id, request.reports)
        finally:
            self._detach(host_id, line)

    def _detach(self, host_id: str, line: HostLine) -> None:
        if self._hosts.detach(host_id, line):
            self._journal.post(events.HostDetached(now_ns=time.time_ns(), host=host_id))

    def _translate(self, host_id: str, reports: Any) -> None:
        for report in reports:
            kind = report.WhichOneof("kind")
            if kind == "usage":
                self._usage(host_id, report.usage)
            elif kind == "environment":
                self._environment(host_id, report.environment)
            elif kind == "output":
                self._hub.output(self._attempt_of(_attempt(report.output.attempt)), report.output.output)
            elif kind != "hello":
                self._journal.post(_numbered(host_id, report, kind))
            if kind == "exited":
                self._hosts.gone(_attempt(report.exited.attempt))

    def _usage(self, host_id: str, usage: pb.Usage) -> None:
        self._hosts.measured(host_id, usage)
        self._journal.post(
            events.MachineMeasured(now_ns=time.time_ns(), host=host_id, machine=usage.machine, attempts=usage.attempts)
        )

    def _environment(self, host_id: str, environment: behaviour_pb2.Environment) -> None:
        self._environments.report(environment)
        # A failed one is let through to its host, which says for every launch why it cannot be.
        failed = environment.state == behaviour_pb2.ENVIRONMENT_STATE_FAILED
        changed = events.EnvironmentChanged(
            now_ns=time.time_ns(),
            host=host_id,
            environment=environment.name,
            ready=environment.state != behaviour_pb2.ENVIRONMENT_STATE_STARTING,
            behaviours=None if failed else frozenset(behaviour.name for behaviour in environment.behaviours),
        )
        self._journal.post(changed)


def _numbered(host_id: str, report: pb.HostReport, kind: str | None) -> events.Event:
    now, number = time.time_ns(), report.number
    if kind == "launched":
        key, process = _attempt(report.launched.attempt), report.launched.process
        return events.Launched(now_ns=now, host=host_id, number=number, attempt=key, process=process)
    if kind == "launch_failed":
        failed = report.launch_failed
        return events.LaunchFailed(
            now_ns=now,
            host=host_id,
            number=number,
            attempt=_attempt(failed.attempt),
            reason=failed.reason,
            transient=failed.transient,
        )
    key, receipt = _attempt(report.exited.attempt), report.exited.receipt
    return events.Exited(now_ns=now, host=host_id, number=number, attempt=key, receipt=receipt)


def _attempt(key: pb.AttemptKey) -> AttemptId:
    return key.task_id, key.number
