"""Sessions: what tasks of one conversation share, written once, with the result."""

import signal
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hundredfold import Item, Submission, SyncClient
from hundredfold.client import result_of
from hundredfold.errors import (
    HundredfoldError,
    InvalidArgument,
    PayloadTooLarge,
    SessionBusy,
    SessionConflict,
    SessionRequestReused,
    UnknownSession,
)
from hundredfold.testing.coordinator import CoordinatorProcess, eventually
from hundredfold.v1 import task_pb2

MIB = 1 << 20


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


# Clients --------------------------------------------------------------------------------------------------------------


def test_clients_write_and_read_what_tasks_do(client: SyncClient) -> None:
    version = client.sessions.commit("shared", [Item("user", "hello", {"from": "me"})], set={"count": 7})
    assert version == 1
    result = result_of(client.wait(client.submit("remember", {"text": "hi"}, session="shared").id))
    assert result == {"before": ["hello"], "count": 8, "version": 1}
    session = client.sessions.get("shared")
    assert [(item.number, item.role, item.content) for item in session.items] == [
        (1, "user", "hello"),
        (2, "user", "hi"),
    ]
    assert (session.items[0].metadata, session.items[0].task_id, session.items[0].attempt) == ({"from": "me"}, "", 0)
    assert (bool(session.items[1].task_id), session.items[1].attempt) == (True, 1)
    assert (session.version, session.item_count, session.state) == (2, 2, {"count": 8})
    assert session.items[1].create_time == session.update_time
    assert session.update_time
    assert abs((session.update_time - datetime.now(UTC)).total_seconds()) < 60


def test_a_session_is_read_page_by_page(client: SyncClient) -> None:
    client.sessions.commit("long", [Item("user", number) for number in range(25)])
    assert [item.number for item in client.sessions.get("long", after=20).items] == [21, 22, 23, 24, 25]
    assert [item.number for item in client.sessions.get("long", after=3, limit=2).items] == [4, 5]
    with pytest.raises(InvalidArgument, match="`limit` is 10001"):
        client.sessions.get("long", limit=10_001)


def test_who_read_an_older_version_writes_nothing(client: SyncClient) -> None:
    client.sessions.commit("versions", set={"a": 1}, expected_version=0)
    with pytest.raises(SessionConflict):
        client.sessions.commit("versions", set={"a": 2}, expected_version=0)
    assert client.sessions.commit("versions", set={"a": 3}, delete=["b"], expected_version=1) == 2
    assert client.sessions.get("versions").state == {"a": 3}


def test_a_repeated_request_writes_once(client: SyncClient) -> None:
    versions = [client.sessions.commit("once", [Item("user", 1)], request_id="r") for _ in range(3)]
    assert versions == [1, 1, 1]
    assert client.sessions.get("once").item_count == 1
    with pytest.raises(SessionRequestReused):
        client.sessions.commit("once", [Item("user", 2)], request_id="r")


def test_sessions_are_listed_by_name(client: SyncClient) -> None:
    for name in ("list/b", "list/a", "list/c", "other"):
        client.sessions.commit(name, set={"x": 1})
    found = list(client.sessions.list("list/"))
    assert [session.id for session in found] == ["list/a", "list/b", "list/c"]
    assert [(len(session.state), session.version) for session in found] == [(0, 1)] * 3


def test_items_are_found_by_their_words(client: SyncClient) -> None:
    texts = ["The quick brown fox", "a lazy dog", {"title": "Ein FUCHS", "words": "quick"}, "naïve quick"]
    client.sessions.commit("words", [Item("user", text) for text in texts] + [Item("tool", "quick")])
    assert [item.number for item in client.sessions.search("words", "QUICK")] == [5, 4, 3, 1]
    assert [item.number for item in client.sessions.search("words", "quick fox")] == [1]
    assert [(item.number, item.content) for item in client.sessions.search("words", "naïve")] == [(4, "naïve quick")]
    assert [item.number for item in client.sessions.search("words", "quick", limit=1, role="user")] == [4]
    assert list(client.sessions.search("nowhere", "quick")) == []


def test_a_session_can_be_deleted_when_nobody_needs_it(client: SyncClient, tmp_path: Path) -> None:
    client.sessions.commit("gone", [Item("user", number) for number in range(5)], set={"a": 1})
    task_id = client.submit("hold", {"path": str(tmp_path / "go")}, session="gone").id
    with pytest.raises(SessionBusy, match=task_id):
        client.sessions.delete("gone")
    (tmp_path / "go").touch()
    client.wait(task_id)
    eventually(lambda: _delete(client, "gone"), what="the end of the task's process")
    session = client.sessions.get("gone")
    assert (session.version, session.item_count, len(session.items), len(session.state)) == (0, 0, 0, 0)
    with pytest.raises(UnknownSession, match="'gone'"):
        client.sessions.delete("gone")


def test_what_was_read_of_a_deleted_session_is_too_old_for_the_next_one(
    start: Callable[..., CoordinatorProcess],
) -> None:
    first = start()
    with first.client() as client:
        version = client.sessions.commit("s", [Item("user", "alice")], set={"owner": "alice"})
        client.sessions.delete("s")
        first.stop()
    with start().client() as client:
        client.sessions.commit("s", [Item("user", "bob")], set={"owner": "bob"})
        with pytest.raises(SessionConflict):
            client.sessions.commit("s", set={"owner": "alice"}, expected_version=version)
        assert client.sessions.get("s").state == {"owner": "bob"}
        assert client.check_store().problems == []


def test_a_deletion_is_finished_by_the_next_coordinator(start: Callable[..., CoordinatorProcess]) -> None:
    first = start()
    with first.client() as client:
        client.sessions.commit("gone", [Item("user", number) for number in range(5000)])
        client.sessions.delete("gone")
        first.signal(signal.SIGKILL)
        first.wait()
    with start().client() as client:
        client.sessions.commit("gone", [Item("user", "new")])
        assert client.check_store().problems == []
        eventually(lambda: _kinds(client)["item"] == 1, what="the end of the deleted items")
        assert _kinds(client)["deletion"] == 0
        assert client.sessions.get("gone").item_count == 1


def _kinds(client: SyncClient) -> Counter[str]:
    return Counter(record.key.partition("/")[0] for record in client.export_store())


def _delete(client: SyncClient, name: str) -> bool:
    try:
        client.sessions.delete(name)
    except SessionBusy:
        return False
    return True


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("session_id", {"session_id": ""}),
        ("session_id", {"session_id": "x" * 201}),
        ("writes.append[0].role", {"append": [Item("x" * 201, 1)]}),
        ("request_id", {"request_id": "x" * 201}),
    ],
    ids=["no id", "long id", "long role", "long request id"],
)
def test_what_does_not_fit_is_named(client: SyncClient, field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as refused:
        client.sessions.commit(**{"session_id": "wrong", **fields})
    assert refused.value.field == field


def test_more_than_fits_into_a_message_is_not_written(client: SyncClient) -> None:
    """With each value small: the sum counts."""
    items = [Item("user", "x" * MIB) for _ in range(5)]
    with pytest.raises(PayloadTooLarge, match="`writes`"):
        client.sessions.commit("large", items)
    assert client.sessions.get("large").version == 0
    assert client.sessions.commit("large", items[:3]) > 0


# Behaviours -----------------------------------------------------------------------------------------------------------


def test_a_long_session_brings_its_newest_items_along(client: SyncClient) -> None:
    client.sessions.commit("endless", [Item("user", f"item {number}") for number in range(1, 1501)])
    told = result_of(client.wait(client.submit("browse", {"query": "item 499"}, session="endless").id))
    assert told == {"newest": "item 1500", "all": 1500, "oldest": "item 1", "found": ["item 1499", "item 499"]}


def test_no_update_is_lost_among_clients_and_tasks(client: SyncClient) -> None:
    wishes = [Submission("remember", {"text": f"t{n}", "pause": 0.01}, session="mixed") for n in range(8)]
    ids = [task.id for task in client.submit_many(wishes) if not isinstance(task, HundredfoldError)]
    for number in range(20):
        client.sessions.commit("mixed", [Item("user", f"c{number}")])
    assert {task.state for task in client.as_ended(ids, timeout_seconds=60)} == {task_pb2.TASK_STATE_SUCCEEDED}
    said = [item.content for item in client.sessions.get("mixed").items]
    assert sorted(said) == sorted([f"t{n}" for n in range(8)] + [f"c{n}" for n in range(20)])
    assert client.sessions.get("mixed").state["count"] == 8
