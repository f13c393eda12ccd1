"""A task from submission to result, and everything a client can ask about it."""

from pathlib import Path

import pytest
from hundredfold import Submission, SyncClient
from hundredfold.client import decode, result_of
from hundredfold.errors import (
    HundredfoldError,
    InvalidArgument,
    InvalidInput,
    PayloadTooLarge,
    RequestIdReused,
    TaskFailed,
    TimedOut,
    UnknownBehaviour,
    UnknownEnvironment,
    UnknownTask,
)
from hundredfold.testing.coordinator import eventually
from hundredfold.v1 import attempt_pb2, task_pb2


def test_a_task_runs_in_a_process_of_its_own(client: SyncClient) -> None:
    tasks = [client.wait(client.submit("greet", {"name": name}).id) for name in ("Ada", "Grace")]
    results = [result_of(task) for task in tasks]
    assert [result["text"] for result in results] == ["hello Ada", "hello Grace"]
    assert results[0]["pid"] != results[1]["pid"]
    assert [attempt.outcome for attempt in tasks[0].attempts] == [attempt_pb2.ATTEMPT_OUTCOME_COMPLETED]


def test_a_sync_behaviour_without_context(client: SyncClient) -> None:
    assert list(client.map("square", [{"number": n} for n in range(20)])) == [n * n for n in range(20)]


def test_history_is_complete_and_can_be_resumed(client: SyncClient) -> None:
    task_id = client.submit("greet", {"name": "Ada"}).id
    events = list(client.watch(task_id))
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    states = [event.state_change.state for event in events if event.HasField("state_change")]
    assert states == [
        task_pb2.TASK_STATE_QUEUED,
        task_pb2.TASK_STATE_LAUNCHING,
        task_pb2.TASK_STATE_RUNNING,
        task_pb2.TASK_STATE_SUCCEEDED,
    ]
    assert [decode(event.emitted.payload) for event in events if event.HasField("emitted")] == [{"greeting": "Ada"}]
    assert list(client.watch(task_id, after_sequence=3)) == events[3:]


def test_many_events_arrive_once_and_in_order(client: SyncClient) -> None:
    task_id = client.submit("chatter", {"events": 1500, "pause": 0.0002}).id
    told = [decode(event.emitted.payload) for event in client.watch(task_id) if event.HasField("emitted")]
    assert told == list(range(1500))


def test_get_shows_input_and_result(client: SyncClient) -> None:
    task_id = client.submit("square", {"number": 7}, labels={"kind": "test"}).id
    client.wait(task_id)
    task = client.get(task_id)
    assert (decode(task.spec.input), decode(task.result)) == ({"number": 7}, 49)
    assert dict(task.spec.labels) == {"kind": "test"}


def test_list_filters_and_pages(client: SyncClient) -> None:
    submitted = client.submit_many(
        Submission("square", {"number": n}, labels={"batch": "b", "odd": str(n % 2)}) for n in range(120)
    )
    ids = [task.id for task in submitted if not isinstance(task, HundredfoldError)]
    list(client.as_ended(ids))
    assert [task.id for task in client.list(labels={"batch": "b"})] == ids[::-1]
    assert len(list(client.list(labels={"batch": "b", "odd": "1"}, behaviour="square"))) == 60
    assert not list(client.list(labels={"batch": "b"}, states=[task_pb2.TASK_STATE_FAILED]))


def test_the_same_request_id_is_the_same_task(client: SyncClient) -> None:
    first = client.submit("square", {"number": 3}, request_id="once")
    client.wait(first.id)
    again = client.submit("square", {"number": 3}, request_id="once")
    assert (again.id, again.state) == (first.id, task_pb2.TASK_STATE_SUCCEEDED)
    with pytest.raises(RequestIdReused) as caught:
        client.submit("square", {"number": 4}, request_id="once")
    assert caught.value.task_id == first.id


def test_the_same_request_id_twice_in_one_batch(client: SyncClient) -> None:
    tasks = client.submit_many([Submission("square", {"number": 1}, request_id="twin")] * 2)
    assert len({task.id for task in tasks if not isinstance(task, HundredfoldError)}) == 1


def test_one_refusal_in_a_batch_does_not_touch_the_others(client: SyncClient) -> None:
    good, bad, other = client.submit_many(
        [
            Submission("square", {"number": 1}),
            Submission("square", {"number": "x"}),
            Submission("square", {"number": 2}),
        ]
    )
    assert isinstance(bad, InvalidInput)
    assert bad.field == "number"
    ids = [task.id for task in (good, other) if not isinstance(task, HundredfoldError)]
    assert sorted(result_of(task) for task in client.as_ended(ids)) == [1, 4]


@pytest.mark.parametrize(
    ("behaviour", "value", "error", "field"),
    [
        ("square", {"number": "many"}, InvalidInput, "number"),
        ("square", {}, InvalidInput, "number"),
        ("square", {"number": 1, "colour": "red"}, InvalidInput, "colour"),
        ("square", [1], InvalidInput, "input"),
        ("", {}, InvalidArgument, "spec.behaviour"),
        ("save", {"value": "x" * (5 << 20)}, PayloadTooLarge, "spec.input.data"),
    ],
)
def test_bad_input_names_the_field(
    client: SyncClient, behaviour: str, value: object, error: type[HundredfoldError], field: str
) -> None:
    with pytest.raises(error) as caught:
        client.submit(behaviour, value)
    assert caught.value.figures()["field"] == field


def test_ten_megabytes_are_refused_by_name(client: SyncClient) -> None:
    with pytest.raises(PayloadTooLarge, match=r"spec\.input\.data"):
        client.submit("save", {"value": "x" * (10 << 20)})


def test_an_unknown_behaviour_says_what_there_is(client: SyncClient) -> None:
    with pytest.raises(UnknownBehaviour, match="Did you mean 'square'"):
        client.submit("sqare", {"number": 1})


def test_unknown_things_are_not_found(client: SyncClient) -> None:
    with pytest.raises(UnknownTask):
        client.get("nope")
    with pytest.raises(UnknownTask):
        client.cancel("nope")
    with pytest.raises(UnknownTask):
        client.wait("nope")
    with pytest.raises(UnknownTask):
        list(client.watch("nope"))
    with pytest.raises(UnknownEnvironment):
        client.submit("square", {"number": 1}, environment="nope")


def test_waiting_can_time_out(client: SyncClient, tmp_path: Path) -> None:
    task_id = client.submit("hold", {"path": str(tmp_path / "go")}).id
    with pytest.raises(TimedOut):
        client.wait(task_id, timeout_seconds=0.2)
    (tmp_path / "go").touch()
    assert client.wait(task_id).state == task_pb2.TASK_STATE_SUCCEEDED


def test_map_raises_what_failed(client: SyncClient) -> None:
    with pytest.raises(TaskFailed, match="ZeroDivisionError"):
        list(client.map("end", [{"how": "raise"}]))


def test_checkpoints_are_private_and_saved(client: SyncClient) -> None:
    assert result_of(client.wait(client.submit("save", {"value": {"page": 3}}).id)) is None


def test_a_hundred_at_once_are_a_hundred_processes(client: SyncClient) -> None:
    pids = list(client.map("nap", [{"seconds": 0.5}] * 100))
    assert len(set(pids)) == 100


def test_a_list_is_without_what_is_long(client: SyncClient) -> None:
    task_id = client.wait(client.submit("end", {"how": "raise"}).id).id
    eventually(lambda: client.get(task_id).attempts[0].receipt.stderr_tail, what="the receipt")
    (listed,) = (task for task in client.list(behaviour="end") if task.id == task_id)
    assert client.get(task_id).failure.traceback
    assert (listed.failure.type, listed.failure.traceback) == (client.get(task_id).failure.type, "")
    assert (listed.attempts[0].receipt.stdout_tail, listed.attempts[0].receipt.stderr_tail) == (b"", b"")
