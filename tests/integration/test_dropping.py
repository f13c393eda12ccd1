"""What was being dropped with a long-lived agent when the coordinator was killed: the next one goes on with it."""

import signal
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta

from hundredfold.client import result_of
from hundredfold.internal.v1 import records_pb2
from hundredfold.stores.contract import Batch, Write
from hundredfold.stores.sqlite import SqliteStore
from hundredfold.testing.coordinator import CoordinatorProcess
from hundredfold.v1 import attempt_pb2, task_pb2
from hundredfold_coordinator import keys

GONE = attempt_pb2.Failure(type="Dropped", message="its agent is gone", outcome=attempt_pb2.ATTEMPT_OUTCOME_DROPPED)


def test_the_next_coordinator_drops_what_the_last_one_had_not_yet(start: Callable[..., CoordinatorProcess]) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    process = start()
    with process.client() as client:
        ids = [
            client.submit("square", {"number": 2}, strategy=strategy, not_before=later).id
            for strategy in ("sequential", "sequential", "stateful")
        ]
        spec = client.get(ids[0]).spec
    process.signal(signal.SIGKILL)
    process.wait()
    record = records_pb2.DropRecord(task_id="first", behaviour=spec.behaviour, strategy=spec.strategy, failure=GONE)
    record.environment = spec.environment
    with closing(SqliteStore(process.data_dir / "hundredfold.db")) as store:
        store.commit([Batch([Write(keys.drop("first"), record.SerializeToString())])])
    process = start()
    with process.client() as client:
        dropped = [client.wait(task_id, timeout_seconds=30) for task_id in ids[:2]]
        assert {task.dead_letter_cause for task in dropped} == {task_pb2.DEAD_LETTER_CAUSE_DROPPED}
        assert {task.failure.message for task in dropped} == {GONE.message}
        assert client.get(ids[2]).state == task_pb2.TASK_STATE_QUEUED
        again = client.submit("square", {"number": 3}, strategy="sequential").id
        assert result_of(client.wait(again, timeout_seconds=30)) == 9
    process.stop()
    with closing(SqliteStore(process.data_dir / "hundredfold.db")) as store:
        assert store.scan(keys.DROP) == []
