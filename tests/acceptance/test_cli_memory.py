"""The commands about sessions and vector memory."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from command_line import AGENTS, Cli
from google.protobuf import duration_pb2
from hundredfold import Item
from hundredfold.internal.v1 import records_pb2
from hundredfold.stores.contract import Batch, Write
from hundredfold.stores.redis import open_redis
from hundredfold.testing.coordinator import CoordinatorProcess, running_coordinator
from hundredfold_coordinator import keys
from servers.redis import RedisServer


def test_sessions_are_listed_shown_searched_and_deleted(cli: Cli) -> None:
    for text in ("hello world", "bye"):
        cli("wait", cli("submit", "remember", json.dumps({"text": text}), "--session", "talk").stdout.strip())
    assert "talk" in cli("session", "list").stdout
    assert cli("session", "list", "nobody").stdout.splitlines()[1:] == []
    shown = cli("session", "get", "talk").stdout
    assert "session      talk, version 2, 2 items" in shown
    assert "state        count = 2" in shown
    assert '"hello world"' in shown
    assert "--after 1 shows them" in cli("session", "get", "talk", "-n", "1").stderr
    (found,) = cli("session", "search", "talk", "WORLD", "-o", "json").stdout.splitlines()
    assert json.loads(found)["content"] == "hello world"
    as_json = json.loads(cli("session", "get", "talk", "-o", "json").stdout)
    assert (as_json["version"], as_json["item_count"], as_json["items"][1]["number"]) == (2, 2, 2)
    assert as_json["items"][1]["create_time"] == as_json["update_time"]
    (listed,) = map(json.loads, cli("session", "list", "-o", "json").stdout.splitlines())
    assert (listed["id"], listed["items"], listed["update_time"]) == ("talk", [], as_json["update_time"])
    assert (as_json["state"], [item["content"] for item in as_json["items"]]) == ({"count": 2}, ["hello world", "bye"])
    assert cli("session", "delete", "talk").stderr == "deleted 1 session\n"
    assert "version 0, 0 items" in cli("session", "get", "talk").stdout


@pytest.mark.parametrize(
    ("group", "make", "reason"),
    [
        ("session", lambda client, name: client.sessions.commit(name, [Item("user", "x")]), "SESSION_NOT_FOUND"),
        ("memory", lambda client, name: client.memory.create(name, 2), "COLLECTION_NOT_FOUND"),
    ],
    ids=["session", "memory"],
)
def test_what_is_there_is_deleted_and_what_is_not_is_named(
    cli: Cli, coordinator: CoordinatorProcess, group: str, make: Any, reason: str
) -> None:
    with coordinator.client() as client:
        for name in ("one", "two", "three"):
            make(client, name)
    nobody = cli(group, "delete", "nobody")
    assert (nobody.returncode, nobody.stdout) == (4, "")
    assert ("'nobody' here" in nobody.stderr, f"[{reason}]" in nobody.stderr, "deleted" in nobody.stderr) == (
        True,
        True,
        False,
    )
    some = cli(group, "delete", "one", "nobody", "two")
    assert (some.returncode, some.stderr.count(reason)) == (4, 1)
    assert some.stderr.endswith(f"deleted 2 {'sessions' if group == 'session' else 'collections'}\n")
    left = cli(group, "delete", "nobody", "three", "one", "-o", "json")
    assert (left.returncode, json.loads(left.stdout)) == (4, {"deleted": "three"})
    errors = [json.loads(line)["error"] for line in left.stderr.splitlines()]
    assert [(error["reason"], error.get("session", error.get("collection"))) for error in errors] == [
        (reason, "nobody"),
        (reason, "one"),
    ]


def test_a_store_moves_to_a_server_and_back(tmp_path: Path, redis: RedisServer) -> None:
    cli, url = Cli(tmp_path / "data"), redis.url("moved")
    with running_coordinator(tmp_path / "data", plugins=[AGENTS]):
        task_id = cli("submit", "remember", json.dumps({"text": "hello"}), "--session", "talk").stdout.strip()
        cli("wait", task_id)
        busy = cli("store", "copy", f"sqlite:{tmp_path}/data/hundredfold.db", url)
        assert (busy.returncode, "another process has it open" in busy.stderr) == (5, True)
    there = json.loads(cli("store", "copy", f"sqlite:{tmp_path}/data/hundredfold.db", url, "-o", "json").stdout)
    again = cli("store", "copy", f"sqlite:{tmp_path}/data/hundredfold.db", url)
    assert (again.returncode, "STORE_NOT_EMPTY" in again.stderr) == (5, True)
    with running_coordinator(tmp_path / "data", plugins=[AGENTS], arguments=["--store", url]):
        assert '"hello"' in cli("session", "get", "talk").stdout
        assert json.loads(cli("get", task_id, "-o", "json").stdout)["state"] == "TASK_STATE_SUCCEEDED"
        cli("wait", cli("submit", "remember", json.dumps({"text": "again"}), "--session", "talk").stdout.strip())
        (tmp_path / "other").mkdir()
        other = Cli(tmp_path / "other")("store", "check", "--store", url)
        assert (other.returncode, "is in use by the coordinator of epoch" in other.stderr) == (5, True), other.stdout
        assert cli("store", "check").returncode == 0
    assert Cli(tmp_path / "other")("store", "check", "--store", url).returncode == 0
    back = cli("store", "copy", url, f"sqlite:{tmp_path}/back.db")
    assert (back.returncode, "both stores have the digest" in back.stderr) == (0, True), back.stderr
    assert there["records"] > 5
    with closing(open_redis(url)) as store:  # one that did not end in order
        lease = records_pb2.LeaseRecord(term=duration_pb2.Duration(seconds=1))
        store.commit([Batch([Write(keys.LEASE, lease.SerializeToString()), Write(keys.HEARTBEAT, b"")])])
    listened = cli("store", "copy", url, f"sqlite:{tmp_path}/again.db")
    assert listened.returncode == 0, listened.stderr
    assert "waiting 1 s at most, to hear whether a coordinator uses unix:" in listened.stderr
    with running_coordinator(tmp_path / "data", plugins=[AGENTS], arguments=["--store", f"sqlite:{tmp_path}/back.db"]):
        assert '"again"' in cli("session", "get", "talk").stdout


def test_collections_are_made_listed_and_deleted(cli: Cli) -> None:
    assert cli("memory", "create", "facts", "--dimension", "2").stderr == "collection facts is there\n"
    assert cli("memory", "create", "facts", "--dimension", "2").returncode == 0
    other = cli("memory", "create", "facts", "--dimension", "3")
    assert (other.returncode, "COLLECTION_EXISTS" in other.stderr) == (5, True)
    nobodys = cli("memory", "create", "texts", "--dimension", "3", "--embedder", "nobodys")
    assert (nobodys.returncode, "`--embedder` is 'nobodys'" in nobodys.stderr) == (5, True)
    assert "embedders: wordllama" in cli("plugins").stdout
    assert "cosine" in cli("memory", "list").stdout
    listed = json.loads(cli("memory", "list", "-o", "json").stdout)
    assert (listed["name"], listed["dimension"], listed["distance"]) == ("facts", 2, "cosine")
    assert listed["create_time"].endswith("Z")
    assert cli("memory", "search", "facts", "[1, 2]").stdout.split() == ["ID", "DISTANCE", "CONTENT"]
    wrong = cli("memory", "search", "facts", "1, 2")
    assert (wrong.returncode, "is no JSON list of numbers" in wrong.stderr) == (5, True)
    assert cli("memory", "search", "nobody", "[1, 2]").returncode == 4
    assert cli("memory", "delete", "facts").stderr == "deleted 1 collection\n"


def test_a_session_is_tried_out_without_a_program(cli: Cli) -> None:
    begun = json.loads(cli("session", "append", "tried", "user", '"hello"', "-o", "json").stdout)["version"]
    appended = ("session", "append", "tried", "tool", "-", "--metadata", '{"source": "web"}', "--request-id", "r")
    for _ in range(2):
        told = cli(*appended, "-o", "json", stdin='{"found": [1]}')
        assert json.loads(told.stdout) == {"session": "tried", "version": begun + 1}
    assert cli(*appended, stdin='{"found": [1]}').stderr == f"session tried is at version {begun + 1}\n"
    items = json.loads(cli("session", "get", "tried", "-o", "json").stdout)["items"]
    assert [(one["role"], one["content"], one["metadata"]) for one in items] == [
        ("user", "hello", {}),
        ("tool", {"found": [1]}, {"source": "web"}),
    ]
    for wrong in (["hello"], ['"hello"', "--metadata", "[1]"]):
        refused = cli("session", "append", "tried", "user", *wrong)
        assert (refused.returncode, "JSON" in refused.stderr) == (5, True)


def test_a_collection_is_tried_out_without_a_program(cli: Cli) -> None:
    cli("memory", "create", "tried", "--dimension", "2")
    written = cli("memory", "write", "tried", "a", "[1, 0]", '{"title": "A"}', "--metadata", '{"year": 2026}')
    assert written.stderr == "record a is in collection tried\n"
    told = cli("memory", "write", "tried", "b", "[0, 1.5]", "-o", "json")
    assert json.loads(told.stdout) == {"collection": "tried", "id": "b"}
    found = [json.loads(line) for line in cli("memory", "search", "tried", "[1, 0]", "-o", "json").stdout.splitlines()]
    assert [(one["id"], one["content"], one["metadata"]) for one in found] == [
        ("a", {"title": "A"}, {"year": 2026}),
        ("b", None, {}),
    ]
    for wrong in ("[1]", '"12"', "cats", "[true, 1]", '["1", "2"]'):
        assert cli("memory", "write", "tried", "c", wrong).returncode == 5, wrong
    assert "only agents" in cli("memory", "search", "tried", "cats").stderr
