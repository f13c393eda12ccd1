"""What the end of a process says about its attempt, if it has not delivered before."""

import signal
from types import MappingProxyType
from typing import Final

from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import attempt_pb2, policy_pb2


def failure_of(receipt: attempt_pb2.Receipt, limits: policy_pb2.Limits) -> attempt_pb2.Failure:
    """Return why an attempt ended that nobody had asked to end; `limits` are those of its task."""
    if not receipt.kill_cause:
        return _own_end(receipt)
    if receipt.kill_cause == attempt_pb2.KILL_CAUSE_EVICTED:
        why = receipt.eviction or "the machine was short of memory"
        return _failure(attempt_pb2.ATTEMPT_OUTCOME_EVICTED, "Evicted", why)
    if receipt.kill_cause in _LIMITS:
        outcome, kind, text = _LIMITS[receipt.kill_cause]
        failure = _failure(outcome, kind, text.format(**_figures(limits)))
        failure.non_retryable = receipt.kill_cause in _IN_VAIN
        return failure
    return _failure(attempt_pb2.ATTEMPT_OUTCOME_HOST_LOST, "HostLost", "its host was told to end")


def receipt_of(record: records_pb2.TaskRecord, number: int, receipt: attempt_pb2.Receipt) -> attempt_pb2.Receipt:
    """Return the receipt of an attempt that was alive until its process ended, of which `receipt` is the receipt.

    If the process had others before, the time is that of the attempt; all else there is only of the whole process.
    """
    told = attempt_pb2.Receipt()
    told.CopyFrom(receipt)
    if record.alive[number].worker_task_id and receipt.HasField("exit_time"):
        began_ns = record.task.attempts[number - 1].start_time.ToNanoseconds()
        told.wall_time.FromNanoseconds(max(0, receipt.exit_time.ToNanoseconds() - began_ns))
    return told


_LIMITS: Final = MappingProxyType(
    {
        attempt_pb2.KILL_CAUSE_WALL_LIMIT: (
            attempt_pb2.ATTEMPT_OUTCOME_TIMED_OUT,
            "WallLimit",
            "it ran longer than its limit of {wall:g} s",
        ),
        attempt_pb2.KILL_CAUSE_CPU_LIMIT: (
            attempt_pb2.ATTEMPT_OUTCOME_TIMED_OUT,
            "CpuLimit",
            "it used more than its limit of {cpu:g} s of CPU time",
        ),
        attempt_pb2.KILL_CAUSE_MEMORY_LIMIT: (
            attempt_pb2.ATTEMPT_OUTCOME_OOM_KILLED,
            "MemoryLimit",
            "it used more than its limit of {memory} MiB of memory",
        ),
        attempt_pb2.KILL_CAUSE_PROCESS_LIMIT: (
            attempt_pb2.ATTEMPT_OUTCOME_SIGNALLED,
            "ProcessLimit",
            "it had more than its limit of {processes} processes and threads",
        ),
        attempt_pb2.KILL_CAUSE_OUTPUT_LIMIT: (
            attempt_pb2.ATTEMPT_OUTCOME_SIGNALLED,
            "OutputLimit",
            "it wrote more than its limit of {output} bytes of output",
        ),
    }
)
"""For every limit: how it ends an attempt, what that is called, and how it is said."""


_IN_VAIN: Final = frozenset({attempt_pb2.KILL_CAUSE_PROCESS_LIMIT, attempt_pb2.KILL_CAUSE_OUTPUT_LIMIT})
"""Limits that another attempt would only run into again."""


def _figures(limits: policy_pb2.Limits) -> dict[str, float]:
    return {
        "wall": limits.wall_time.ToNanoseconds() / 1e9,
        "cpu": limits.cpu_time.ToNanoseconds() / 1e9,
        "memory": limits.memory_bytes >> 20,
        "processes": limits.processes,
        "output": limits.output_bytes,
    }


def _own_end(receipt: attempt_pb2.Receipt) -> attempt_pb2.Failure:
    last = receipt.stderr_tail.decode(errors="replace").strip().rsplit("\n", 1)[-1][:200]
    said = f"; its last words: {last}" if last else ""
    if receipt.signal:
        name = signal.Signals(receipt.signal).name if receipt.signal in set(signal.Signals) else str(receipt.signal)
        message = f"the agent was ended by {name}, which Hundredfold did not send{said}"
        return _failure(attempt_pb2.ATTEMPT_OUTCOME_SIGNALLED, name, message)
    code = receipt.exit_code if receipt.HasField("exit_code") else "unknown"
    message = f"the agent exited with code {code} before it delivered a result{said}"
    return _failure(attempt_pb2.ATTEMPT_OUTCOME_EXITED, "Exited", message)


def _failure(outcome: attempt_pb2.AttemptOutcome.ValueType, kind: str, message: str) -> attempt_pb2.Failure:
    return attempt_pb2.Failure(outcome=outcome, type=kind, message=message)
