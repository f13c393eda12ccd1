"""The receipt of an attempt: what it used, what held it, and that nothing of it is left."""

import os
import resource

from hundredfold.v1 import attempt_pb2, policy_pb2

from hundredfold_host.containment.session import polling
from hundredfold_host.worker import Moment, Worker


def write(worker: Worker, survivors: int) -> attempt_pb2.Receipt:
    """Return the receipt of a worker whose tree was found empty just now, but for `survivors`; closes the worker."""
    receipt = attempt_pb2.Receipt(
        peak_pss_bytes=worker.use.peak_pss_bytes,
        max_rss_bytes=worker.exit.max_rss_bytes,
        samples=worker.use.samples,
        leftovers_killed=len(worker.leftovers),
        survivors=survivors,
        kill_signals=worker.kill_signals,
        kill_cause=worker.cause,
        requested_limits=worker.limits,
        effective_limits=_effective_limits(worker),
        containment=worker.group.kind,
        memory_enforcer=worker.group.memory_enforcer,
        process_enforcer=worker.group.process_enforcer,
        children_seen=max(worker.use.most_processes - 1, len(worker.leftovers)),
        cpu_enforcer=polling(worker.limits.HasField("cpu_time")),
        output_enforcer=polling(worker.limits.output_bytes),
        descriptor_enforcer=attempt_pb2.ENFORCER_RLIMIT
        if worker.limits.descriptors
        else attempt_pb2.ENFORCER_UNSPECIFIED,
        eviction=worker.eviction,
        max_private_bytes=max(0, worker.exit.max_rss_bytes - worker.inherited_bytes),
    )
    _add_exit(receipt, worker)
    worker.close()
    _add_output(receipt, worker)
    return receipt


def _effective_limits(worker: Worker) -> policy_pb2.Limits:
    limits = policy_pb2.Limits()
    limits.CopyFrom(worker.group.limits)
    for field in ("wall_time", "cpu_time"):
        if worker.limits.HasField(field):
            getattr(limits, field).CopyFrom(getattr(worker.limits, field))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits.descriptors, limits.output_bytes = min(worker.limits.descriptors, hard), worker.limits.output_bytes
    return limits


def _add_exit(receipt: attempt_pb2.Receipt, worker: Worker) -> None:
    cpu_seconds = max(worker.exit.cpu_seconds, worker.use.cpu_seconds)
    receipt.cpu_time.FromNanoseconds(int(cpu_seconds * 1e9))
    startup = worker.use.startup_cpu_seconds
    receipt.startup_cpu_time.FromNanoseconds(int((cpu_seconds if startup is None else startup) * 1e9))
    if startup is not None:
        waited = worker.use.cpu_wait_seconds - worker.use.startup_wait_seconds
        receipt.cpu_wait_time.FromNanoseconds(int(waited * 1e9))
    receipt.wall_time.FromNanoseconds(worker.exited.monotonic_ns - worker.forked.monotonic_ns)
    receipt.fork_time.FromNanoseconds(worker.forked.wall_ns)
    receipt.exit_time.FromNanoseconds(worker.exited.wall_ns)
    receipt.empty_time.FromNanoseconds(Moment.now().wall_ns)
    if worker.exit.status >= 0 and os.WIFEXITED(worker.exit.status):
        receipt.exit_code = os.WEXITSTATUS(worker.exit.status)
    elif worker.exit.status >= 0:
        receipt.signal = os.WTERMSIG(worker.exit.status)


def _add_output(receipt: attempt_pb2.Receipt, worker: Worker) -> None:
    out, err = worker.pipes
    receipt.stdout_tail = out.tail
    receipt.stderr_tail = err.tail
    receipt.dropped_bytes = out.total + err.total - len(out.tail) - len(err.tail)
