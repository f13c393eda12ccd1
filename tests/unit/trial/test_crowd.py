"""When a crowd is whole, and when it is all that the machine takes."""

from collections.abc import Sequence
from typing import Any, cast

from hundredfold import Client
from hundredfold.v1 import coordinator_service_pb2 as pb
from hundredfold.v1 import task_pb2
from hundredfold_coordinator.trial.crowd import until_still


class Coordinator:
    """Answers with so many running agents, one number after the other; the last one again and again."""

    def __init__(self, running: Sequence[int], **gates: int) -> None:
        self._running = list(running)
        self._gates = gates

    async def status(self) -> pb.GetStatusResponse:
        running = self._running.pop(0) if len(self._running) > 1 else self._running[0]
        return pb.GetStatusResponse(
            task_counts=[
                pb.TaskCount(state=task_pb2.TASK_STATE_QUEUED, count=99),
                pb.TaskCount(state=task_pb2.TASK_STATE_RUNNING, count=running),
            ],
            gate_counts=[
                pb.GateCount(gate=task_pb2.GateKind.Value(f"GATE_KIND_{gate}"), count=count)
                for gate, count in self._gates.items()
            ],
        )


async def still(running: Sequence[int], wanted: int, **gates: int) -> tuple[int, str, int]:
    looks: list[Any] = []
    client = cast("Client", Coordinator(running, **gates))
    found = await until_still(client, wanted, lambda: looks.append(None), still_seconds=0.01)
    return (*found, len(looks))


async def test_all_that_are_wanted_are_enough() -> None:
    assert await still([0, 3, 5], 5, RAMP=2) == (5, "", 2)


async def test_when_no_more_come_the_gate_of_most_is_named() -> None:
    assert await still([4, 7], 9, RAMP=1, MEMORY=2) == (7, "MEMORY", 2)


async def test_those_that_come_and_go_are_no_more() -> None:
    assert await still([4, 7, 6, 7, 6], 9, MEMORY=2) == (6, "MEMORY", 2)


async def test_without_a_gate_none_is_named() -> None:
    assert await still([0], 2) == (0, "", 0)
