"""Sessions: what tasks of one conversation share, written once, with the result."""

import pytest
from hundredfold import Submission, SyncClient
from hundredfold.client import result_of
from hundredfold.errors import HundredfoldError
from hundredfold.v1 import task_pb2


def test_a_later_task_reads_what_an_earlier_one_wrote(client: SyncClient) -> None:
    for text in ("one", "two"):
        client.wait(client.submit("remember", {"text": text}, session="diary").id)
    last = result_of(client.wait(client.submit("remember", {"text": "three"}, session="diary").id))
    assert last == {"before": ["one", "two"], "count": 3, "version": 2}


def test_a_failed_attempt_writes_nothing(client: SyncClient) -> None:
    failed = client.wait(client.submit("remember", {"text": "lost", "fail": True}, session="careful").id)
    assert failed.state == task_pb2.TASK_STATE_FAILED
    after = result_of(client.wait(client.submit("remember", {"text": "kept"}, session="careful").id))
    assert after == {"before": [], "count": 1, "version": 0}


def test_tasks_of_one_session_run_one_by_one_in_order(client: SyncClient) -> None:
    wishes = [Submission("remember", {"text": str(n), "pause": 0.02}, session="queue") for n in range(10)]
    ids = [task.id for task in client.submit_many(wishes) if not isinstance(task, HundredfoldError)]
    results = {task.id: result_of(task) for task in client.as_ended(ids)}
    assert [results[task_id]["before"] for task_id in ids] == [[str(n) for n in range(k)] for k in range(10)]


def test_a_busy_session_is_named_as_the_gate(client: SyncClient) -> None:
    first = client.submit("remember", {"text": "a", "pause": 30}, session="busy").id
    second = client.submit("remember", {"text": "b"}, session="busy").id
    gate = client.get(second).gate
    assert gate.kind == task_pb2.GATE_KIND_SESSION_BUSY
    assert first in gate.detail
    client.cancel(first)
    assert result_of(client.wait(second))["before"] == []


@pytest.mark.parametrize("name", ["a/b", "ünï", "a b", "x" * 200])
def test_any_name_will_do(client: SyncClient, name: str) -> None:
    for count in (1, 2):
        result = result_of(client.wait(client.submit("remember", {"text": "t"}, session=name).id))
        assert result["count"] == count
