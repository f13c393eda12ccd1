"""Why a task waits, runs or has ended: the sentences a person reads."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import attempt_pb2, task_pb2
from hundredfold.v1 import coordinator_service_pb2 as pb
from hundredfold.wording import counted, size

from hundredfold_coordinator.core import lifecycle
from hundredfold_coordinator.core.change import lane, rank, summary
from hundredfold_coordinator.core.footprint import peak_of
from hundredfold_coordinator.core.pace import seconds_to_start
from hundredfold_coordinator.core.queue import Place
from hundredfold_coordinator.core.scheduler import gate
from hundredfold_coordinator.core.state import State

_FOR_A_LIMIT: Final = frozenset({attempt_pb2.KILL_CAUSE_PROCESS_LIMIT, attempt_pb2.KILL_CAUSE_OUTPUT_LIMIT})
_READY_GATES: Final = frozenset(task_pb2.GateKind.values()) - {
    task_pb2.GATE_KIND_DELAYED,
    task_pb2.GATE_KIND_SESSION_BUSY,
}
_OWN_GATES: Final = frozenset(
    {
        task_pb2.GATE_KIND_UNSPECIFIED,
        task_pb2.GATE_KIND_CONCURRENCY,
        task_pb2.GATE_KIND_MEMORY,
        task_pb2.GATE_KIND_RAMP,
        task_pb2.GATE_KIND_CPU,
    }
)
"""Those that open as tasks end; of the others nobody knows when they do."""
_SAID: Final[Mapping[int, str]] = MappingProxyType(
    {
        attempt_pb2.ATTEMPT_OUTCOME_COMPLETED: "completed",
        attempt_pb2.ATTEMPT_OUTCOME_RAISED: "raised an exception",
        attempt_pb2.ATTEMPT_OUTCOME_EXITED: "exited before it had delivered",
        attempt_pb2.ATTEMPT_OUTCOME_SIGNALLED: "was ended by a signal",
        attempt_pb2.ATTEMPT_OUTCOME_CANCELLED: "was cancelled",
        attempt_pb2.ATTEMPT_OUTCOME_DRAINED: "was given back to the queue when the coordinator stopped",
        attempt_pb2.ATTEMPT_OUTCOME_HOST_LOST: "was lost with its host",
        attempt_pb2.ATTEMPT_OUTCOME_LAUNCH_FAILED: "could not be started",
        attempt_pb2.ATTEMPT_OUTCOME_INVALID_INPUT: "found its input invalid",
        attempt_pb2.ATTEMPT_OUTCOME_PROTOCOL_VIOLATION: "broke the protocol",
        attempt_pb2.ATTEMPT_OUTCOME_TIMED_OUT: "took too long",
        attempt_pb2.ATTEMPT_OUTCOME_OOM_KILLED: "used too much memory",
        attempt_pb2.ATTEMPT_OUTCOME_EVICTED: "was evicted to save the machine",
        attempt_pb2.ATTEMPT_OUTCOME_FENCED: "was given up",
        attempt_pb2.ATTEMPT_OUTCOME_CONFLICT: "came too late for its session",
        attempt_pb2.ATTEMPT_OUTCOME_DROPPED: "was dropped",
    }
)


def explain(state: State, record: records_pb2.TaskRecord, now_ns: int) -> pb.ExplainTaskResponse:
    """Return everything there is to say about a task; `record` is what the store has of it."""
    task = record.task
    response = pb.ExplainTaskResponse(state=task.state)
    live = state.tasks.get(task.id)
    if task.state == lifecycle.QUEUED and live:
        _explain_waiting(state, live, response, now_ns)
    elif task.state in (lifecycle.LAUNCHING, lifecycle.RUNNING):
        response.summary = _running(state, task, now_ns)
    else:
        response.summary = _ended(task)
    for attempt in task.attempts:
        response.attempts.add(number=attempt.number, summary=attempt_summary(attempt))
    return response


def attempt_summary(attempt: attempt_pb2.Attempt) -> str:
    """Return what became of an attempt, with what it used."""
    if not attempt.outcome:
        return f"Attempt {attempt.number} runs; {size(attempt.reservation_bytes)} were set aside for it."
    ended = "was ended" if attempt.receipt.kill_cause in _FOR_A_LIMIT else _SAID[attempt.outcome]
    why = f": {attempt.failure.message.rstrip('.')}" if attempt.failure.message else ""
    return f"Attempt {attempt.number} {ended}{why}.{_used(attempt)}"


def position(state: State, record: records_pb2.TaskRecord) -> int:
    """Return how many tasks will be started before one that waits, and one more; other tenants have their shares."""
    own = lane(record)
    ahead = state.queue.ahead(own, Place(rank(state, record), record.task.id, 0))
    weight = state.shares.weight(own.tenant)
    others = 0.0
    for tenant, waiting in state.queue.counts.items():
        if tenant != own.tenant:
            others += min(waiting, (ahead + 1) * state.shares.weight(tenant) / weight)
    return ahead + 1 + int(others)


def _explain_waiting(
    state: State, record: records_pb2.TaskRecord, response: pb.ExplainTaskResponse, now_ns: int
) -> None:
    found = gate(state, record)
    response.gate.CopyFrom(found)
    name = task_pb2.GateKind.Name(found.kind).removeprefix("GATE_KIND_")
    response.summary = f"It waits at gate {name}: {found.detail}."
    if found.kind not in _READY_GATES:
        line = state.queue.line(record.task.spec.session)
        response.position = line.index(record.task.id) + 1 if record.task.id in line else 0
        return
    response.position = position(state, record)
    response.summary += f" It is number {response.position} of those that wait"
    wait = seconds_to_start(state, response.position, now_ns) if found.kind in _OWN_GATES else None
    if wait is not None:
        response.estimated_wait.FromNanoseconds(int(wait * 1e9))
        response.summary += f", and starts in about {wait:.0f} s if those before it take as long as usual"
    response.summary += "."


def _running(state: State, task: task_pb2.Task, now_ns: int) -> str:
    attempt = task.attempts[-1]
    begun = (now_ns - attempt.launch_time.ToNanoseconds()) / 1e9
    host = state.hosts.get(attempt.host)
    load = host.loads.get(state.residents.key_of((task.id, attempt.number))) if host else None
    uses = f"it uses {size(load.used_bytes)}, and " if load and load.used_bytes else ""
    verb = "has run" if task.state == lifecycle.RUNNING else "has been on its way"
    process = f", as process {attempt.pid}" if attempt.pid else ""
    silent = ", which has not been heard of for some seconds" if host and host.silent else ""
    away = "" if host else ", which is not connected"
    return (
        f"Attempt {attempt.number} {verb} for {begun:.1f} s on {attempt.host}{silent}{away}{process}; {uses}"
        f"{size(attempt.reservation_bytes)} were set aside for it."
    )


def _ended(task: task_pb2.Task) -> str:
    took = (task.end_time.ToNanoseconds() - task.create_time.ToNanoseconds()) / 1e9
    name = task_pb2.TaskState.Name(task.state).removeprefix("TASK_STATE_")
    tried = f" and after {counted(len(task.attempts), 'attempt')}" * bool(task.attempts)
    said = f"It is {name}, {took:.1f} s after its submission{tried}"
    if task.HasField("failure"):
        said += f": {summary(task.failure).rstrip('.')}"
    if task.dead_letter_cause:
        cause = task_pb2.DeadLetterCause.Name(task.dead_letter_cause).removeprefix("DEAD_LETTER_CAUSE_")
        said += f". It is a dead letter ({cause}); `hundredfold retry {task.id}` tries it again"
    return f"{said}."


def _used(attempt: attempt_pb2.Attempt) -> str:
    if not attempt.HasField("receipt"):
        return ""
    receipt = attempt.receipt
    if not receipt.HasField("exit_time"):
        return " What it used is not known: nobody saw its end."
    wall, cpu = receipt.wall_time.ToNanoseconds() / 1e9, receipt.cpu_time.ToNanoseconds() / 1e9
    if receipt.process_stays:
        return f" It ran {wall:.1f} s and used {cpu:.1f} s of CPU, in process {attempt.pid}, which went on to others."
    memory = f"at most {size(peak_of(receipt))} of memory" if peak_of(receipt) else "too little memory to be seen"
    return (
        f" It ran {wall:.1f} s and used {cpu:.1f} s of CPU and {memory}, with {size(attempt.reservation_bytes)} set "
        "aside for it."
    )
