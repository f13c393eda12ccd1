"""A host as clients see it: its process, its line, and what the scheduler thinks of it."""

from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import coordinator_service_pb2 as pb

from hundredfold_coordinator.core.state import State
from hundredfold_coordinator.hosts import Hosts


def host_view(record: records_pb2.HostRecord, hosts: Hosts, state: State) -> pb.Host:
    """Return what is known of a host whose process lives."""
    view = pb.Host(id=record.host_id, pid=record.process.pid, version=record.version)
    attached = hosts.get(record.host_id)
    if attached:
        view.machine.CopyFrom(attached.machine)
    view.workers = sum(owner == record.host_id for owner in state.alive.values())
    view.state, view.detail = _judge(record.host_id, state)
    host = state.hosts.get(record.host_id)
    view.reserved_bytes = host.outstanding_bytes if host else 0
    view.environments.extend(sorted(host.environments) if host else ())
    return view


def _judge(host_id: str, state: State) -> tuple[pb.HostState.ValueType, str]:
    host = state.hosts.get(host_id)
    if host is None:
        return pb.HOST_STATE_DETACHED, "it is starting, or looking for its coordinator"
    if host.retiring:
        return pb.HOST_STATE_RETIRING, "it is of another version and ends when what it runs has ended"
    if host.silent:
        return pb.HOST_STATE_SILENT, "it has not been heard of for some seconds"
    if host.exhausted:
        return pb.HOST_STATE_EXHAUSTED, host.exhausted
    return pb.HOST_STATE_READY, ""
