"""How what behaviours and clients have as JSON values travels in messages, and back."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from google.protobuf.message import Message

from hundredfold.memory import Collection, Match, Remembered
from hundredfold.session import Item, Json, SessionSnapshot
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
    return Item(
        message.role,
        json.loads(message.content),
        values_of(message.metadata),
        message.number,
        message.task_id,
        message.attempt,
        _moment(message, "create_time"),
    )


def snapshot_of(message: session_pb2.Session) -> SessionSnapshot:
    """Return a session that has travelled."""
    return SessionSnapshot(
        message.id,
        message.version,
        tuple(map(item_of, message.items)),
        values_of(message.state),
        message.item_count,
        _moment(message, "update_time"),
    )


def collection_of(message: memory_pb2.Collection) -> Collection:
    """Return a collection that has travelled."""
    distance = memory_pb2.Distance.Name(message.distance).removeprefix("DISTANCE_").lower()
    made = _moment(message, "create_time")
    return Collection(message.name, message.dimension, distance, message.embedder, message.tenant, made)


def record_message(record: Remembered) -> memory_pb2.MemoryRecord:
    """Return a record of vector memory as it travels."""
    return memory_pb2.MemoryRecord(
        id=record.id, vector=record.vector, content=json_of(record.content), metadata=texts_of(record.metadata)
    )


def match_of(message: memory_pb2.MemoryMatch) -> Match:
    """Return a match of a search that has travelled."""
    record = message.record
    content = json.loads(record.content) if record.content else None
    return Match(
        record.id,
        message.distance,
        content,
        values_of(record.metadata),
        record.task_id,
        record.attempt,
        _moment(record, "update_time"),
    )


def _moment(message: Message, field: str) -> datetime | None:
    """Return a time that has travelled; None if it has not come."""
    moment: datetime | None = getattr(message, field).ToDatetime(tzinfo=UTC) if message.HasField(field) else None
    return moment
