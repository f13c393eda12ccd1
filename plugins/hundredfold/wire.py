"""How what behaviours and clients have as JSON values travels in messages, and back."""

import json
from collections.abc import Mapping

from hundredfold.memory import Match, Remembered
from hundredfold.session import Item, Json
from hundredfold.v1 import memory_pb2, session_pb2


def json_of(value: Json) -> bytes:
    """Return a JSON value as it travels.

    Raises:
        TypeError, ValueError: it is none.

    """
    return json.dumps(value, allow_nan=False).encode()


def texts_of(values: Mapping[str, Json]) -> dict[str, bytes]:
    """Return JSON values as they travel, by name."""
    return {name: json_of(value) for name, value in values.items()}


def values_of(texts: Mapping[str, bytes]) -> dict[str, Json]:
    """Return JSON values that have travelled, by name."""
    return {name: json.loads(text) for name, text in texts.items()}


def item_message(item: Item) -> session_pb2.SessionItem:
    """Return an item of a session as it travels; its number and task are the coordinator's to give."""
    return session_pb2.SessionItem(role=item.role, content=json_of(item.content), metadata=texts_of(item.metadata))


def item_of(message: session_pb2.SessionItem) -> Item:
    """Return an item of a session that has travelled."""
    content = json.loads(message.content)
    return Item(message.role, content, values_of(message.metadata), message.number, message.task_id)


def record_message(record: Remembered) -> memory_pb2.MemoryRecord:
    """Return a record of vector memory as it travels."""
    return memory_pb2.MemoryRecord(
        id=record.id, vector=record.vector, content=json_of(record.content), metadata=texts_of(record.metadata)
    )


def match_of(message: memory_pb2.MemoryMatch) -> Match:
    """Return a match of a search that has travelled."""
    record = message.record
    content = json.loads(record.content) if record.content else None
    return Match(record.id, message.distance, content, values_of(record.metadata))
