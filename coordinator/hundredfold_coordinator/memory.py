"""Vector memory, as the store has it: collections and their records, checked before they are written."""

import asyncio
import json
import math
import time
from array import array
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from hundredfold.bounds import check_name
from hundredfold.errors import CollectionExists, InvalidArgument, UnknownCollection
from hundredfold.internal.v1 import records_pb2
from hundredfold.stores.contract import ABSENT, Batch, Conflict, Write
from hundredfold.stores.search import Distance, Embedding
from hundredfold.v1 import memory_pb2

from hundredfold_coordinator import keys
from hundredfold_coordinator.json_text import parsed
from hundredfold_coordinator.storage import Storage

MOST_RECORDS: Final = 1000
_MOST_DIMENSIONS: Final = 4096
_MOST_HITS: Final = 1000
_DEFAULT_HITS: Final = 10
_MOST_METADATA: Final = 64
_LARGE_BYTES: Final = 256 << 10
_DISTANCES: Final[Mapping[int, Distance]] = MappingProxyType(
    {
        memory_pb2.DISTANCE_COSINE: Distance.COSINE,
        memory_pb2.DISTANCE_EUCLIDEAN: Distance.EUCLIDEAN,
        memory_pb2.DISTANCE_DOT: Distance.DOT,
    }
)

Records = list[tuple[bytes, records_pb2.VectorRecord | None]]
"""What is to be written, by key; None for what is to be deleted."""


class Memory:
    """The collections in `storage`."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def create(self, wanted: memory_pb2.Collection) -> memory_pb2.Collection:
        """Make a collection; one that is the same already is returned.

        Raises:
            InvalidArgument: names the field.
            CollectionExists: there is another one of its name.

        """
        _check_collection(wanted)
        self._storage.require_vectors()
        wanted.create_time.FromNanoseconds(time.time_ns())
        key = keys.collection(wanted.name)
        (result,) = await self._storage.commit([Batch([Write(key, wanted.SerializeToString(), ABSENT)])])
        if not isinstance(result, Conflict):
            return wanted
        found = await self.collection(wanted.name)
        wanted.create_time.CopyFrom(found.create_time)
        if wanted != found:
            raise CollectionExists(wanted.name, found.dimension, _DISTANCES[found.distance])
        return found

    async def all(self) -> list[memory_pb2.Collection]:
        """Return the collections, by name."""
        entries = await self._storage.scan_all(keys.COLLECTION)
        return [memory_pb2.Collection.FromString(entry.record.value) for entry in entries]

    async def collection(self, name: str, tenant: str | None = None) -> memory_pb2.Collection:
        """Return a collection; for a tenant, only one that it may use.

        Raises:
            UnknownCollection: there is none.

        """
        (found,) = await self._storage.get([keys.collection(name)])
        collection = memory_pb2.Collection.FromString(found.value) if found else None
        if collection is None or (tenant is not None and collection.tenant not in ("", tenant)):
            raise UnknownCollection(name)
        return collection

    async def delete(self, name: str) -> None:
        """Delete a collection: its records first, so that what was interrupted can be done again.

        Raises:
            UnknownCollection: there is none.

        """
        await self.collection(name)
        while entries := await self._storage.scan(keys.vectors_of(name), limit=MOST_RECORDS):
            await self._storage.commit([Batch([Write(entry.key, None) for entry in entries])])
        await self._storage.commit([Batch([Write(keys.collection(name), None)])])

    async def records(self, field: str, writes: memory_pb2.MemoryWrites, tenant: str | None = None) -> Records:
        """Return what writes come to.

        Raises:
            InvalidArgument: names the field of `field` that does not fit.
            UnknownCollection: there is no such collection.

        """
        collection = await self.collection(writes.collection, tenant)
        if len(writes.upsert) + len(writes.delete) > MOST_RECORDS:
            raise InvalidArgument(field, f"has more than {MOST_RECORDS} records; write them in several calls")
        if writes.ByteSize() < _LARGE_BYTES:
            return _records(field, writes, collection)
        return await asyncio.to_thread(_records, field, writes, collection)  # it takes tens of milliseconds

    async def search(self, query: memory_pb2.MemoryQuery, tenant: str | None = None) -> list[memory_pb2.MemoryMatch]:
        """Return the records nearest to a vector, the nearest first.

        Raises:
            InvalidArgument: names the field.
            UnknownCollection: there is no such collection.

        """
        collection = await self.collection(query.collection, tenant)
        _check_vector("query.vector", query.vector, collection.dimension)
        limit = query.limit or _DEFAULT_HITS
        if not 1 <= limit <= _MOST_HITS:
            raise InvalidArgument("query.limit", f"is {limit} and must be from 1 to {_MOST_HITS}")
        where = _canonical("query.where", query.where)
        vector = array("f", query.vector).tobytes()
        hits = await self._storage.search(collection.name, vector, limit, where)
        found = await self._storage.get([hit.key for hit in hits])
        matches = []
        for hit, entry in zip(hits, found, strict=True):
            if entry:  # it may have been deleted since
                record = records_pb2.VectorRecord.FromString(entry.value).record
                del record.vector[:]
                matches.append(memory_pb2.MemoryMatch(record=record, distance=hit.distance))
        return matches


def _records(field: str, writes: memory_pb2.MemoryWrites, collection: memory_pb2.Collection) -> Records:
    records: Records = [(keys.vector(collection.name, record_id), None) for record_id in writes.delete]
    for index, record in enumerate(writes.upsert):
        path = f"{field}.upsert[{index}]"
        _check_record(path, record)
        _check_vector(f"{path}.vector", record.vector, collection.dimension)
        value = records_pb2.VectorRecord(collection=collection.name, distance=collection.distance, record=record)
        records.append((keys.vector(collection.name, record.id), value))
    return records


def extract(value: bytes) -> Embedding:
    """Return what is searched for of a record; see `hundredfold.stores.search`."""
    stored = records_pb2.VectorRecord.FromString(value)
    record = stored.record
    metadata = {name: text.decode() for name, text in record.metadata.items()}
    vector = array("f", record.vector).tobytes()
    return Embedding(stored.collection, _DISTANCES[stored.distance], vector, metadata)


def _check_collection(wanted: memory_pb2.Collection) -> None:
    for field in ("name", "embedder", "tenant"):
        check_name(f"collection.{field}", getattr(wanted, field))
    if not wanted.name:
        raise InvalidArgument("collection.name", "is empty")
    if not 1 <= wanted.dimension <= _MOST_DIMENSIONS:
        problem = f"is {wanted.dimension} and must be from 1 to {_MOST_DIMENSIONS}"
        raise InvalidArgument("collection.dimension", problem)
    wanted.distance = wanted.distance or memory_pb2.DISTANCE_COSINE
    if wanted.distance not in _DISTANCES:
        raise InvalidArgument("collection.distance", "is none; see Distance")


def _check_record(path: str, record: memory_pb2.MemoryRecord) -> None:
    check_name(f"{path}.id", record.id)
    if not record.id:
        raise InvalidArgument(f"{path}.id", "is empty")
    if record.content:
        parsed(f"{path}.content", record.content)
    for name, text in _canonical(f"{path}.metadata", record.metadata).items():
        record.metadata[name] = text.encode()


def _check_vector(path: str, vector: Iterable[float], dimension: int) -> None:
    figures = list(vector)
    if len(figures) != dimension:
        raise InvalidArgument(path, f"has {len(figures)} figures and must have {dimension}")
    if not all(map(math.isfinite, figures)):
        raise InvalidArgument(path, "has a figure that is not finite")


def _canonical(path: str, metadata: Mapping[str, bytes]) -> dict[str, str]:
    """Return metadata with every value in one way of writing it, so that equal values are equal text."""
    if len(metadata) > _MOST_METADATA:
        raise InvalidArgument(path, f"has {len(metadata)} entries and may have {_MOST_METADATA}")
    return {name: _text(parsed(f"{path}[{name!r}]", text)) for name, text in metadata.items()}


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
