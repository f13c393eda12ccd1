"""Shows that what a coordinator is doing fits on a terminal."""

from hundredfold.v1 import coordinator_service_pb2 as pb
from hundredfold.v1 import task_pb2
from hundredfold_coordinator.cli.overview import line, overview

COLUMNS = 80


def test_a_long_value_goes_on_after_a_comma() -> None:
    parts = [f"{number} at GATE" for number in range(1, 15)]
    shown = list(line("waiting", ", ".join(parts)))
    assert len(shown) > 1
    assert max(map(len, shown)) <= COLUMNS
    assert all(one.startswith(" " * 13) for one in shown[1:])
    assert ", ".join(one[13:].rstrip(",") for one in shown) == ", ".join(parts)
    assert list(line("store", "x" * 100)) == ["store        " + "x" * 100], "a path is never cut"


def test_everything_at_once_fits() -> None:
    status = pb.GetStatusResponse(
        version="0.1.0",
        pid=4194304,
        task_counts=[pb.TaskCount(state=state, count=100_000) for state in task_pb2.TaskState.values()[1:]],
        gate_counts=[pb.GateCount(gate=gate, count=100_000) for gate in task_pb2.GateKind.values()[1:]],
        concurrency=100_000,
        queue_limit=10_000_000,
        tenant_queue_limit=5,
        queued_bytes=1 << 40,
        queue_bytes=1 << 40,
        tenant_limits={f"tenant-{number}": 100 for number in range(9)},
        hosts=[pb.Host(id="host-12345678", pid=4194304, workers=100_000, reserved_bytes=1 << 40)],
    )
    machine = status.hosts[0].machine
    machine.memory_total_bytes, machine.workers_pss_bytes, machine.cpu_count = 1 << 40, 1 << 40, 128
    samples = [pb.Sample(host="host-12345678", workers=10_000) for _ in range(60)]
    assert [one for one in overview(status, samples) if len(one) > COLUMNS] == []


def test_a_single_one_is_not_many() -> None:
    status = pb.GetStatusResponse(concurrency=1, hosts=[pb.Host(id="h")])
    status.hosts[0].machine.cpu_count = 1
    shown = list(overview(status))
    assert "limits       1 attempt at once" in shown
    assert "  cpu        0 % of 1 core" in shown
    assert "tasks        none" in shown
