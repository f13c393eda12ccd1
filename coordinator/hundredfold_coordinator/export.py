"""A store as JSON: one object for each record, decoded by the key layout."""

import json
from collections.abc import Sequence
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from hundredfold.stores.contract import Entry, Store
from hundredfold.v1 import store_service_pb2 as pb

from hundredfold_coordinator import keys
from hundredfold_coordinator.consistency import decode

_PAGE: Final = 50
"""Records read at once; each can be megabytes."""


def read_page(store: Store, after: bytes) -> list[Entry]:
    """Return the next records behind a key; none at the end."""
    return store.scan(b"", after=after, limit=_PAGE)


def exported(entries: Sequence[Entry]) -> list[pb.StoreRecord]:
    """Return records as they are exported."""
    return [_exported(entry) for entry in entries]


def _exported(entry: Entry) -> pb.StoreRecord:
    version = entry.record.version
    try:
        place = keys.place(entry.key)
        message = decode(entry, place)
    except (ValueError, DecodeError):
        # Whatever it is, it is not to be lost here, where somebody may look for what is left.
        value = json.dumps(entry.record.value.hex())
        return pb.StoreRecord(key=entry.key.decode(errors="backslashreplace"), version=version, json=value)
    value = json.dumps(_value(message), ensure_ascii=False)
    return pb.StoreRecord(
        key=str(place), version=version, type=message.DESCRIPTOR.full_name if message else "", json=value
    )


def _value(message: Any) -> Any:
    return None if message is None else MessageToDict(message, preserving_proto_field_name=True)


def line(record: pb.StoreRecord) -> str:
    """Return a record as one line of JSON."""
    head = json.dumps({"key": record.key, "version": record.version, "type": record.type}, ensure_ascii=False)
    return f'{head[:-1]}, "value": {record.json}}}'
