"""Embeddings on their way into the database."""

import math
import struct
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from hundredfold.stores.postgresql.parcel import DELETE, PUT, Parcel, integers
from hundredfold.stores.search import Extract

LONGEST: Final = 16_000
"""Most dimensions that pgvector stores."""


class Vector:
    """A vector as pgvector sends and takes it."""

    __slots__ = ("binary",)

    def __init__(self, floats: bytes) -> None:
        numbers = array("f", floats)
        if sys.byteorder == "little":
            numbers.byteswap()
        self.binary = struct.pack(">HH", len(numbers), 0) + numbers.tobytes()


@dataclass
class Findings:
    """What was extracted of records, as arrays.

    Attributes:
        gone: keys of records of which nothing can be found any more.
        places: the batch in which each record is put, or its version.

    """

    gone: list[bytes] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    names: list[bytes] = field(default_factory=list)
    distances: list[str] = field(default_factory=list)
    vectors: list[Vector] = field(default_factory=list)
    metadata: list[str] = field(default_factory=list)

    def add(self, key: bytes, place: int, value: bytes, extract: Extract) -> None:
        """Add what is to be found of a record; if that is nothing, no search finds it, and nobody is harmed."""
        try:
            found = extract(value)
            numbers = array("f", found.vector)
        except Exception:  # noqa: BLE001  # a commit may be about to be refused, and is not to fail for what is derived
            numbers = array("f")
        if not 0 < len(numbers) <= LONGEST or not all(map(math.isfinite, numbers)):
            self.gone.append(key)
            return
        self.places.append(place)
        self.keys.append(key)
        self.names.append(as_bytes(found.collection))
        self.distances.append(found.distance.value)
        self.vectors.append(Vector(found.vector))
        self.metadata.append(integers(digests(found.collection, found.metadata)))

    @property
    def size_bytes(self) -> int:
        """What the vectors take."""
        return sum(len(vector.binary) for vector in self.vectors)

    def portions(self, most: int) -> "list[Findings]":
        """Return the same in several, of at most so many records; without those that are gone."""
        lists = (self.places, self.keys, self.names, self.distances, self.vectors, self.metadata)
        starts = range(0, len(self.keys), most)
        return [Findings([], *(one[start : start + most] for one in lists)) for start in starts]  # type: ignore[arg-type]  # by position

    def embedding(self) -> tuple[object, ...]:
        """Return what is needed to write them, whose places are the versions of their records."""
        return (self.gone, self.keys, integers(self.places), *self.parameters()[1:])

    def parameters(self) -> tuple[object, ...]:
        """Return the arrays in the order in which the functions take them, the places aside."""
        return (self.keys, self.names, self.distances, self.vectors, self.metadata)

    def __bool__(self) -> bool:
        """Tell whether there is anything to be written."""
        return bool(self.keys or self.gone)

    def at(self, versions: "Sequence[int | None]") -> "Findings":
        """Return what belongs to batches that have a version, with that in the place of the batch."""
        kept = [number for number, batch in enumerate(self.places) if versions[batch - 1] is not None]
        lists = (self.keys, self.names, self.distances, self.vectors, self.metadata)
        places = [versions[self.places[number] - 1] for number in kept]
        return Findings([], places, *([one[number] for number in kept] for one in lists))  # type: ignore[arg-type]  # as above


def find_all(parcel: Parcel, prefix: bytes, extract: Extract) -> Findings:
    """Return what is to be found of the records that a commit writes."""
    findings = Findings()
    for batch, key, value, action in zip(parcel.batches, parcel.keys, parcel.values, parcel.actions, strict=True):
        if not key.startswith(prefix):
            continue
        if action == PUT:
            findings.add(key, batch, value, extract)
        elif action == DELETE:
            findings.gone.append(key)
    return findings


def digests(collection: str, metadata: Mapping[str, str]) -> Iterable[int]:
    """Return a number for each pair of name and value, which stands for it in the index: any text will do."""
    for name, text in metadata.items():
        pair = b"".join(struct.pack(">I", len(part)) + part for part in map(as_bytes, (collection, name, text)))
        yield int.from_bytes(blake2b(pair, digest_size=8).digest(), signed=True)


def as_bytes(text: str) -> bytes:
    """Return any text as bytes, also what PostgreSQL does not take for text."""
    return text.encode("utf-8", "surrogatepass")
