"""The commands about sessions and vector memory."""

import json

from command_line import Cli


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
    assert (as_json["state"], [item["content"] for item in as_json["items"]]) == ({"count": 2}, ["hello world", "bye"])
    assert cli("session", "delete", "talk").stderr == "deleted 1 session\n"
    assert "version 0, 0 items" in cli("session", "get", "talk").stdout
