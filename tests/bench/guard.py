"""`scripts/bench guard`: whether a task still costs what it did. Part of `scripts/check`.

Nothing here is a time: the core's work is counted in calls, which are the same on every machine, and what surrounds it
is held against bare fork in the same run.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import attempt_pb2, payload_pb2, session_pb2, task_pb2
from hundredfold_coordinator.core import effects, events
from hundredfold_coordinator.core.decide import decide
from hundredfold_coordinator.core.state import Limits, State
from run import run
from workloads import WORKLOADS

_TASKS = 200
_CALLS = {"fresh": 740, "pool": 515}
"""Most calls of Python and C functions for a task in the core, with a tenth to spare for other versions of Python."""
_GROWTH = 1.3
_MAKESPAN = 2.5
"""A hundred agents of a second, held against bare fork: 1.3 on a quiet machine."""


def main() -> None:
    """Measure; end with 1 and say so if something costs more."""
    failures = [*_core(), *_makespan()]
    for failure in failures:
        sys.stderr.write(f"guard: {failure}\n")
    sys.exit(bool(failures))


def _core() -> Iterator[str]:
    for name, strategy in (("fresh", task_pb2.STRATEGY_FRESH), ("pool", task_pb2.STRATEGY_POOL)):
        few, many = (_calls_a_task(strategy, queued) for queued in (1_000, 20_000))
        sys.stderr.write(f"guard: {name}: {few:.0f} calls a task with 1,000 queued, {many:.0f} with 20,000\n")
        if few > _CALLS[name]:
            yield f"a {name} task takes {few:.0f} calls in the core, and took {_CALLS[name]} at most"
        if many > few * _GROWTH:
            yield f"with 20,000 queued a {name} task takes {many / few:.2f} times as many calls as with 1,000"


def _makespan() -> Iterator[str]:
    hundred = next(workload for workload in WORKLOADS if workload.name == "hundred")
    line = asyncio.run(run(hundred, 100))
    ratio = line.ratio_makespan or 0
    sys.stderr.write(f"guard: a hundred agents of a second take {ratio:.2f} times as long as bare fork\n")
    if line.failed or ratio > _MAKESPAN:
        yield f"a hundred agents took {ratio:.2f} times as long as bare fork, {_MAKESPAN} at most; {line.failed} failed"


def _calls_a_task(strategy: task_pb2.Strategy.ValueType, queued: int) -> float:
    """Return how many calls the whole life of a task takes in the core, beside so many that wait."""
    life = _Life(strategy)
    for number in range(queued):
        life.submit(f"queued{number:09}", held=True)
    calls = _counted(lambda: [life.live(f"task{number:09}") for number in range(_TASKS)])
    if life.succeeded != _TASKS:
        message = f"only {life.succeeded} of {_TASKS} tasks have lived: what was counted is something else"
        raise RuntimeError(message)
    return calls / _TASKS


def _counted(work: Callable[[], object]) -> int:
    calls = 0

    def note(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


class _Life:
    """A core with one host, and the events that the life of a task brings."""

    def __init__(self, strategy: task_pb2.Strategy.ValueType) -> None:
        self._strategy = strategy
        self._now_ns = 1
        self._minted = 0
        # Whoever is held waits for a tenant's turn that does not come.
        self._state = State(
            Limits(pool_size=4, pool_tasks=1_000_000, tenant_limits={"held": 0}), self._mint, lambda: 0.5
        )
        self._tell(events.HostAttached, host="host", inventory=[])
        self._tell(events.EnvironmentChanged, host="host", environment="default", ready=True)
        self._resident: tuple[str, int] | None = None

    @property
    def succeeded(self) -> int:
        """How many tasks have come to their end."""
        return self._state.ended[task_pb2.TASK_STATE_SUCCEEDED]

    def submit(self, task_id: str, *, held: bool = False) -> list[effects.Effect]:
        """Submit a task, which never starts if it is held."""
        spec = task_pb2.TaskSpec(behaviour="noop", environment="default", strategy=self._strategy)
        spec.tenant = "held" * held
        spec.input.data = b"{}"
        fields = {"spec": spec, "request_id": "", "digest": b"", "stored": None, "reply": "client"}
        return self._tell(events.Submitted, task_id=task_id, **fields)

    def live(self, task_id: str) -> None:
        """Have a task live from its submission to its end."""
        attempt = task_id, 1
        pool = self._strategy == task_pb2.STRATEGY_POOL
        told = self.submit(task_id)
        for launch in told:
            if isinstance(launch, effects.Launch):
                self._begin(launch)
        self._tell(
            events.Completed,
            attempt=attempt,
            result=payload_pb2.Payload(data=b"1"),
            session=records_pb2.SessionRecord(),
            session_writes=session_pb2.SessionWrites(),
            emitted=[],
            digest=b"digest",
            reply="worker",
            wants_next=pool,
        )
        if pool:
            credential = self._state.residents.get(self._resident or attempt)
            assert credential
            self._resident = credential.key
            self._tell(events.Awaited, credential_hash=credential.credential_hash, reply="worker")
        else:
            self._tell(events.Exited, host="host", number=2, attempt=attempt, receipt=attempt_pb2.Receipt())

    def _begin(self, launch: effects.Launch) -> None:
        process = records_pb2.ProcessIdentity(pid=7)
        self._tell(events.Launched, host="host", number=1, attempt=launch.attempt, process=process)
        hashed = sha256(launch.credential.encode()).digest()
        self._tell(events.Taken, credential_hash=hashed, process=None, token_hash=hashed[::-1], reply="worker")

    def _tell(self, kind: Callable[..., events.Event], **fields: Any) -> list[effects.Effect]:
        self._now_ns += 1_000_000
        return decide(self._state, kind(now_ns=self._now_ns, **fields)).effects

    def _mint(self) -> str:
        self._minted += 1
        return f"secret-{self._minted}"
