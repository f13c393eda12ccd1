"""Shows that what travels in messages arrives as what behaviours and clients have."""

from datetime import UTC, datetime

import pytest
from hundredfold import Collection, Item, Match, Remembered, SessionSnapshot
from hundredfold.v1 import memory_pb2, session_pb2
from hundredfold.wire import collection_of, item_message, item_of, match_of, record_message, snapshot_of

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 600_000, UTC)


@pytest.mark.parametrize("content", [None, "é\ud800", 1.5, {"a": [True, {}]}])
def test_an_item_comes_back(content: object) -> None:
    item = Item("user", content, {"from": content})
    assert item_of(item_message(item)) == item


def test_a_session_arrives_whole() -> None:
    said = session_pb2.SessionItem(role="tool", content=b"[1]", number=7, task_id="t", attempt=2)
    said.create_time.FromDatetime(MOMENT)
    message = session_pb2.Session(id="s", version=3, items=[said], state={"a": b'{"b": null}'}, item_count=9)
    message.update_time.FromDatetime(MOMENT)
    items = (Item("tool", [1], {}, 7, "t", 2, MOMENT),)
    assert snapshot_of(message) == SessionSnapshot("s", 3, items, {"a": {"b": None}}, 9, MOMENT)


def test_one_that_was_never_written_has_no_time() -> None:
    assert snapshot_of(session_pb2.Session(id="s")) == SessionSnapshot("s")
    assert SessionSnapshot("s").update_time is None


def test_a_collection_says_its_distance_in_words() -> None:
    message = memory_pb2.Collection(name="c", dimension=2, distance=memory_pb2.DISTANCE_DOT, embedder="e", tenant="t")
    message.create_time.FromDatetime(MOMENT)
    assert collection_of(message) == Collection("c", 2, "dot", "e", "t", MOMENT)


def test_a_match_is_what_was_written() -> None:
    record = record_message(Remembered("r", [1.0], {"a": 1}, {"b": [2]}))
    assert match_of(memory_pb2.MemoryMatch(record=record, distance=0.5)) == Match("r", 0.5, {"a": 1}, {"b": [2]})
