"""What the end of a process says about its attempt, if it has not delivered before."""

import signal

from hundredfold.v1 import attempt_pb2, policy_pb2


def failure_of(receipt: attempt_pb2.Receipt, limits: policy_pb2.Limits) -> attempt_pb2.Failure:
    """Return why an attempt ended that nobody had asked to end; `limits` are those of its task."""
    cause = receipt.kill_cause
    if cause == attempt_pb2.KILL_CAUSE_WALL_LIMIT:
        message = f"it ran longer than its limit of {limits.wall_time.ToNanoseconds() / 1e9:g} s"
        return _failure(attempt_pb2.ATTEMPT_OUTCOME_TIMED_OUT, "WallLimit", message)
    if cause == attempt_pb2.KILL_CAUSE_MEMORY_LIMIT:
        message = f"it used more than its limit of {limits.memory_bytes >> 20} MiB of memory"
        return _failure(attempt_pb2.ATTEMPT_OUTCOME_OOM_KILLED, "MemoryLimit", message)
    if cause == attempt_pb2.KILL_CAUSE_PROCESS_LIMIT:
        message = f"it had more than its limit of {limits.processes} processes and threads"
        return _failure(attempt_pb2.ATTEMPT_OUTCOME_SIGNALLED, "ProcessLimit", message)
    if cause:
        return _failure(attempt_pb2.ATTEMPT_OUTCOME_HOST_LOST, "HostLost", "its host was told to end")
    return _own_end(receipt)


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
