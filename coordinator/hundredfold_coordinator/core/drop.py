"""A drop: what is left to end of the tasks that waited for a long-lived agent which is gone."""

from dataclasses import dataclass

from hundredfold.v1 import attempt_pb2


@dataclass(slots=True)
class Drop:
    """One agent's.

    Attributes:
        task_id: the task that the agent was made for.
        failure: what the tasks end with.
        waiting: those that have not ended yet, by id; the queue takes them out as they leave it.
        recorded: whether the store knows of it.

    """

    task_id: str
    failure: attempt_pb2.Failure
    waiting: dict[str, None]
    recorded: bool = False
