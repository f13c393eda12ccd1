"""Records with vectors for the conformance kit of searches, and how far apart they are, in plain Python."""

import heapq
import json
import math
import random
from array import array
from collections.abc import Iterable, Mapping
from operator import mul

from hundredfold.stores.contract import Write
from hundredfold.stores.search import Distance, Embedding


def extract(value: bytes) -> Embedding:
    """Return what is searched for of the kit's records."""
    collection, distance, vector, metadata = json.loads(value)
    return Embedding(collection, Distance(distance), bytes.fromhex(vector), metadata)


def write(key: bytes, embedding: Embedding) -> Write:
    """Return the write of a record that `extract` understands."""
    fields = [embedding.collection, embedding.distance.value, embedding.vector.hex(), dict(embedding.metadata)]
    return Write(key, json.dumps(fields).encode())


def packed(*numbers: float) -> bytes:
    """Return a vector."""
    return array("f", numbers).tobytes()


def random_vectors(number: int, dimension: int, seed: str) -> list[bytes]:
    """Return vectors of all directions, and of lengths from a hundredth to a hundred."""
    source = random.Random(seed)  # noqa: S311  # no secret
    lengths = [10 ** source.uniform(-2, 2) for _ in range(number)]
    return [packed(*(source.gauss(0, length) for _ in range(dimension))) for length in lengths]


def some(collection: str, distance: Distance, number: int, dimension: int = 8) -> dict[bytes, Embedding]:
    """Return records of a collection."""
    vectors = random_vectors(number, dimension, f"of {collection}")
    return {
        f"v/{collection}/{index}".encode(): Embedding(collection, distance, vector)
        for index, vector in enumerate(vectors)
    }


def crowd(spread: float) -> dict[bytes, Embedding]:
    """Return 5,000 vectors around 50 centres, which a large spread makes disappear."""
    source = random.Random(1)  # noqa: S311  # no secret
    centres = [[source.gauss(0, 1) for _ in range(24)] for _ in range(50)]
    rows = ([source.gauss(one, spread) for one in source.choice(centres)] for _ in range(5000))
    return keyed(Embedding("crowd", Distance.EUCLIDEAN, packed(*row)) for row in rows)


def keyed(embeddings: Iterable[Embedding]) -> dict[bytes, Embedding]:
    """Give each a key."""
    return {b"v/%d" % number: embedding for number, embedding in enumerate(embeddings)}


def nearest(records: Mapping[bytes, Embedding], wanted: bytes, limit: int) -> list[bytes]:
    """Return the keys of the nearest records, the nearest first, by looking at all."""
    return heapq.nsmallest(limit, records, key=lambda key: apart(records[key], wanted))


def apart(embedding: Embedding, wanted: bytes) -> float:
    """Return how far a record is from a vector, as `Distance` defines it."""
    one, other = array("f", embedding.vector), array("f", wanted)
    if embedding.distance is Distance.EUCLIDEAN:
        return math.dist(one, other)
    dot = float(sum(map(mul, one, other)))
    if embedding.distance is Distance.DOT:
        return -dot
    lengths = math.hypot(*one) * math.hypot(*other)
    return 1 - dot / lengths if lengths else 1.0
