"""Crews: the workers that stay for several attempts, as far as any of them is as good as another.

A pool is one crew for each choice of the limits that hold for a whole process; of agents that keep their sessions in
their own memory, each is a crew of its own, whatever limits its tasks have.
"""

from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple
from zlib import crc32

from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import task_pb2

LONG_LIVED: Final[AbstractSet[task_pb2.Strategy.ValueType]] = frozenset(
    {task_pb2.STRATEGY_STATEFUL, task_pb2.STRATEGY_SEQUENTIAL}
)
"""Strategies whose agents have what nobody else has: their sessions, and the tasks that wait for them."""
_STAYING: Final = LONG_LIVED | {task_pb2.STRATEGY_POOL}


class Crew(NamedTuple):
    """What all tasks have in common that one of its workers can take next.

    Attributes:
        environment: where they can run.
        behaviour: what they are.
        strategy: how they are run.
        agent: which of the long-lived agents they belong to; 0 in a pool.
        memory_bytes: most memory of its processes, and so on, see `Limits`; 0 for long-lived agents.
        processes: most processes.
        descriptors: most open descriptors of each.

    """

    environment: str
    behaviour: str
    strategy: task_pb2.Strategy.ValueType
    agent: int
    memory_bytes: int = 0
    processes: int = 0
    descriptors: int = 0

    @property
    def is_long_lived(self) -> bool:
        """Whether what its worker has in memory is nowhere else."""
        return self.strategy in LONG_LIVED


def crew_of(record: records_pb2.TaskRecord) -> Crew | None:
    """Return whose workers take a task; None if it has a process of its own."""
    spec = record.task.spec
    if spec.strategy not in _STAYING:
        return None
    if spec.strategy in LONG_LIVED:
        return Crew(spec.environment, spec.behaviour, spec.strategy, record.agent)
    limits = spec.limits
    of_a_process = limits.memory_bytes, limits.processes, limits.descriptors
    return Crew(spec.environment, spec.behaviour, spec.strategy, 0, *of_a_process)


def agent_for(spec: task_pb2.TaskSpec, agents: int, turn: int) -> int:
    """Return which of so many long-lived agents a task belongs to: its session's, or the next one's in turn."""
    if spec.strategy != task_pb2.STRATEGY_STATEFUL:
        return 0
    return (crc32(spec.session.encode()) if spec.session else turn) % agents
