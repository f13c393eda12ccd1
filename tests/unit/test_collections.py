"""Shows what a coordinator writes to collections and finds in them: one way of writing metadata, and what is there."""

from collections.abc import AsyncIterator, Mapping, Sequence

import pytest
from hundredfold.errors import InvalidArgument
from hundredfold.stores.contract import Batch, Record, Write
from hundredfold.stores.memory import MemoryStore
from hundredfold.v1 import memory_pb2
from hundredfold_coordinator import keys
from hundredfold_coordinator.memory import Memory, extract
from hundredfold_coordinator.storage import Storage


class Forgetful(Storage):
    """A store from which records go between a search and the reading of what it has found."""

    def __init__(self) -> None:
        super().__init__()
        self.going: set[bytes] = set()

    async def get(self, keys: Sequence[bytes]) -> list[Record | None]:
        """See `Storage`."""
        found = await super().get(keys)
        return [None if key in self.going else one for key, one in zip(keys, found, strict=True)]


async def _any_embedder(_name: str) -> None:
    """Find nothing wrong."""


@pytest.fixture
async def storage() -> AsyncIterator[Forgetful]:
    storage = Forgetful()
    await storage.open(MemoryStore)
    await storage.index(keys.VECTOR, extract)
    yield storage
    await storage.close()


@pytest.fixture
async def memory(storage: Storage) -> Memory:
    memory = Memory(storage, _any_embedder)
    await memory.create(memory_pb2.Collection(name="c", dimension=1))
    return memory


async def write(memory: Memory, storage: Storage, records: Mapping[str, Mapping[str, bytes]]) -> None:
    upsert = [memory_pb2.MemoryRecord(id=key, vector=[1.0], metadata=said) for key, said in records.items()]
    found = await memory.records("writes", memory_pb2.MemoryWrites(collection="c", upsert=upsert))
    await storage.commit([Batch([Write(key, one and one.SerializeToString()) for key, one in found])])


async def ids(memory: Memory, **where: bytes) -> list[str]:
    query = memory_pb2.MemoryQuery(collection="c", vector=[1.0], where=where)
    return sorted(match.record.id for match in await memory.search(query))


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (b'{"a":1,"b":2}', b'{"b": 2, "a": 1}'),
        (b'[{"a":1,"b":[]}]', b'[ {"b":[],"a":1} ]'),
        ('"é"'.encode(), rb'"\u00e9"'),
        (b"2020", b"2020.0"),
        (b"2.02e3", b"2020"),
        (b'{"a":[1.0]}', b'{"a":[1]}'),
        (b"0.0", b"-0.0"),
        (b"1e-400", b"0"),
        (b"1.5", b"15e-1"),
    ],
)
async def test_equal_values_are_found_however_they_are_written(
    memory: Memory, storage: Storage, written: bytes, wanted: bytes
) -> None:
    await write(memory, storage, {"a": {"x": written}, "b": {"x": wanted}, "c": {"x": b'"other"'}})
    assert await ids(memory, x=wanted) == ["a", "b"]
    assert await ids(memory, x=written) == ["a", "b"]


@pytest.mark.parametrize(
    ("written", "wanted"), [(b"1", b"true"), (b"2020", b'"2020"'), (b"2.5", b"2"), (b"0", b"false")]
)
async def test_what_is_only_alike_is_not_found(memory: Memory, storage: Storage, written: bytes, wanted: bytes) -> None:
    await write(memory, storage, {"a": {"x": written}})
    assert await ids(memory, x=wanted) == []


async def test_what_is_deleted_while_it_is_searched_for_is_not_found(memory: Memory, storage: Forgetful) -> None:
    await write(memory, storage, {"a": {}, "b": {}, "c": {}})
    storage.going = {keys.vector("c", 0, "b")}
    assert await ids(memory) == ["a", "c"]


@pytest.mark.parametrize("text", [b"1e400", b"NaN", b"[-Infinity]", b"", b"{", b"\xff", b"[" * 100_000])
async def test_what_is_no_json_is_no_metadata(memory: Memory, storage: Storage, text: bytes) -> None:
    with pytest.raises(InvalidArgument, match=r"metadata\['x'\]"):
        await write(memory, storage, {"a": {"x": text}})
    with pytest.raises(InvalidArgument, match=r"where\['x'\]"):
        await ids(memory, x=text)


@pytest.mark.parametrize("text", [b"NaN", b"Infinity", b"", b"[" * 100_000])
async def test_what_is_no_json_is_no_content(memory: Memory, text: bytes) -> None:
    upsert = [memory_pb2.MemoryRecord(id="a", vector=[1.0], content=text or b" ")]
    with pytest.raises(InvalidArgument, match="content"):
        await memory.records("writes", memory_pb2.MemoryWrites(collection="c", upsert=upsert))
