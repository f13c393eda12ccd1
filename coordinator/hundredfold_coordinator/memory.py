"""Vector memory, as the store has it: collections and their records, checked before they are written."""

import asyncio
import math
import time
from array import array
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, TypeVar

from hundredfold.bounds import MEMORY_RECORDS, check_name
from hundredfold.errors import CollectionExists, InvalidArgument, UnknownCollection
from hundredfold.internal.v1 import records_pb2
from hundredfold.stores.contract import Batch, Write
from hundredfold.stores.search import Distance, Embedding, Hit
from hundredfold.v1 import memory_pb2

from hundredfold_coordinator import keys
from hundredfold_coordinator.json_text import canonical, parsed
from hundredfold_coordinator.pages import fitting
from hundredfold_coordinator.storage import Storage
from hundredfold_coordinator.to_its_end import to_its_end

_T = TypeVar("_T")
_MOST_DIMENSIONS: Final = 4096
_MOST_HITS: Final = 1000
_DEFAULT_HITS: Final = 10
_FIRST_HITS: Final = 20
_READ_BYTES: Final = 8 << 20
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
    """The collections in `storage`; `check_embedder` refuses one that nobody has."""

    def __init__(self, storage: Storage, check_embedder: Callable[[str], Awaitable[None]]) -> None:
        self._storage = storage
        self._check_embedder = check_embedder
        self._turn = asyncio.Lock()  # one collection at a time is made or deleted
        self._writing: set[asyncio.Future[None]] = set()

    async def create(self, wanted: memory_pb2.Collection) -> memory_pb2.Collection:
        """Make a collection; one that is the same already is returned.

        Raises:
            InvalidArgument, BrokenEnvironment: names the field, or the environment, that does not fit.
            CollectionExists: there is another one of its name.

        """
        _check_collection(wanted)
        self._storage.require_vectors()
        # One that is there stays the same, whatever has become of its embedder.
        if wanted.embedder and await self._storage.get([keys.collection(wanted.name)]) == [None]:
            await self._check_embedder(wanted.embedder)
        return await to_its_end(self._create(wanted))

    async def _create(self, wanted: memory_pb2.Collection) -> memory_pb2.Collection:
        async with self._turn:
            key = keys.collection(wanted.name)
            found, deletion = await self._storage.get([key, keys.deletion_of_vectors(wanted.name)])
            if found:
                return _same(records_pb2.CollectionRecord.FromString(found.value).collection, wanted)
            wanted.create_time.FromNanoseconds(time.time_ns())
            record = records_pb2.CollectionRecord(collection=wanted)
            if deletion:  # what is left of the one before is none of it
                record.generation = records_pb2.DeletionRecord.FromString(deletion.value).generation + 1
            await self._storage.commit([Batch([Write(key, record.SerializeToString())])], wait_for_room=False)
        return wanted

    async def all(self) -> list[memory_pb2.Collection]:
        """Return the collections, by name."""
        entries = await self._storage.scan_all(keys.COLLECTION)
        return [records_pb2.CollectionRecord.FromString(entry.record.value).collection for entry in entries]

    async def collection(self, name: str, tenant: str | None = None) -> memory_pb2.Collection:
        """Return a collection; for a tenant, only one that it may use.

        Raises:
            UnknownCollection: there is none.

        """
        return (await self._record(name, tenant)).collection

    async def _record(self, name: str, tenant: str | None = None) -> records_pb2.CollectionRecord:
        (found,) = await self._storage.get([keys.collection(name)])
        record = records_pb2.CollectionRecord.FromString(found.value) if found else None
        if record is None or (tenant is not None and record.collection.tenant not in ("", tenant)):
            raise UnknownCollection(name)
        return record

    async def delete(self, name: str) -> None:
        """Delete a collection; its records, which may be many, go page by page after that: see `Deletions`.

        Raises:
            UnknownCollection: there is none.

        """
        async with self._turn:
            note = records_pb2.DeletionRecord(generation=(await self._record(name)).generation)
            deletion = Write(keys.deletion_of_vectors(name), note.SerializeToString())
            await self._storage.commit([Batch([Write(keys.collection(name), None), deletion])])

    async def writing(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Return what `work` returns, which asks for `records` and commits them, even if its caller goes away."""

        async def remembered() -> _T:
            end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._writing.add(end)
            try:
                return await work
            finally:
                self._writing.discard(end)
                end.set_result(None)

        return await to_its_end(remembered())

    async def settled(self) -> None:
        """Wait until everything is committed that has asked for a collection by now, and may write to a deleted one."""
        if self._writing:
            await asyncio.wait(self._writing)

    async def records(self, field: str, writes: memory_pb2.MemoryWrites, tenant: str | None = None) -> Records:
        """Return what writes come to; ask within `writing`.

        Raises:
            InvalidArgument: names the field of `field` that does not fit.
            UnknownCollection: there is no such collection.

        """
        collection = await self._record(writes.collection, tenant)
        if len(writes.upsert) + len(writes.delete) > MEMORY_RECORDS:
            raise InvalidArgument(field, f"has more than {MEMORY_RECORDS} records; write them in several calls")
        if writes.ByteSize() < _LARGE_BYTES:
            return _records(field, writes, collection)
        return await asyncio.to_thread(_records, field, writes, collection)  # it takes tens of milliseconds

    async def search(self, query: memory_pb2.MemoryQuery, tenant: str | None = None) -> list[memory_pb2.MemoryMatch]:
        """Return the records nearest to a vector, the nearest first.

        Raises:
            InvalidArgument: names the field.
            UnknownCollection: there is no such collection.

        """
        record = await self._record(query.collection, tenant)
        _check_vector("query.vector", query.vector, record.collection.dimension)
        limit = query.limit or _DEFAULT_HITS
        if not 1 <= limit <= _MOST_HITS:
            raise InvalidArgument("query.limit", f"is {limit} and must be from 1 to {_MOST_HITS}")
        where = _canonical("query.where", query.where)
        vector = array("f", query.vector).tobytes()
        hits = await self._storage.search(_index_of(query.collection, record.generation), vector, limit, where)
        return await self._matches(hits)

    async def _matches(self, hits: Sequence[Hit]) -> list[memory_pb2.MemoryMatch]:
        """Return the records of hits, the nearest first, as far as they come to about 8 MiB."""
        matches: list[memory_pb2.MemoryMatch] = []
        size, first, count = 0, 0, _FIRST_HITS
        while first < len(hits):
            some = hits[first : first + count]
            found = await self._storage.get([hit.key for hit in some])
            for hit, entry in zip(some, found, strict=True):
                if entry is None:
                    continue  # it was deleted since
                match = _match(hit, entry.value)
                size += match.ByteSize()
                if matches and size > _READ_BYTES:
                    return matches
                matches.append(match)
            first += len(some)
            count = fitting(sum(len(entry.value) for entry in found if entry) / len(some))
        return matches


def _match(hit: Hit, value: bytes) -> memory_pb2.MemoryMatch:
    record = records_pb2.VectorRecord.FromString(value).record
    del record.vector[:]
    return memory_pb2.MemoryMatch(record=record, distance=hit.distance)


def _same(found: memory_pb2.Collection, wanted: memory_pb2.Collection) -> memory_pb2.Collection:
    wanted.create_time.CopyFrom(found.create_time)
    if wanted != found:
        raise CollectionExists(wanted.name, found.dimension, _DISTANCES[found.distance])
    return found


def _records(field: str, writes: memory_pb2.MemoryWrites, owner: records_pb2.CollectionRecord) -> Records:
    collection, generation = owner.collection, owner.generation
    records: Records = [(keys.vector(collection.name, generation, record_id), None) for record_id in writes.delete]
    for index, record in enumerate(writes.upsert):
        path = f"{field}.upsert[{index}]"
        _check_record(path, record)
        _check_vector(f"{path}.vector", record.vector, collection.dimension)
        value = records_pb2.VectorRecord(
            collection=collection.name, distance=collection.distance, record=record, generation=generation
        )
        records.append((keys.vector(collection.name, generation, record.id), value))
    return records


def extract(value: bytes) -> Embedding:
    """Return what is searched for of a record; see `hundredfold.stores.search`."""
    stored = records_pb2.VectorRecord.FromString(value)
    record = stored.record
    metadata = {name: text.decode() for name, text in record.metadata.items()}
    vector = array("f", record.vector).tobytes()
    return Embedding(_index_of(stored.collection, stored.generation), _DISTANCES[stored.distance], vector, metadata)


def _index_of(name: str, generation: int) -> str:
    """Return what the store's index calls a collection: what is left of a deleted one is not found in the next."""
    return f"{generation}/{name}"


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
    return {name: canonical(f"{path}[{name!r}]", text) for name, text in metadata.items()}
