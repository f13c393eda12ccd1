"""Whatever is written, deleted, moved, closed or given up, in any order: searches find what the memory store does."""

import random
from array import array
from contextlib import closing
from pathlib import Path

import pytest
from hundredfold.stores.contract import Batch, Write
from hundredfold.stores.memory import MemoryStore
from hundredfold.stores.search import Distance, Embedding
from hundredfold.stores.sqlite import SqliteStore
from hundredfold.testing.embeddings import extract, write

SHAPES = {
    "a": (3, Distance.COSINE),
    "ü": (5, Distance.EUCLIDEAN),
    "d": (4, Distance.DOT),
    "d\0": (257, Distance.DOT),
    "": (1, Distance.COSINE),
}
TEXTS = ["1", '"x"', "null", '"ü\\u0000"']


class Model:
    """Both stores, and what is done to them."""

    def __init__(self, seed: int, path: Path) -> None:
        self.random, self.path = random.Random(seed), path
        self.memory = MemoryStore()
        self.memory.index(b"v/", extract)
        self.store = SqliteStore(path)
        self.store.index(b"v/", extract)

    def vector(self, dimension: int) -> bytes:
        length = self.random.choice([0, 1, 1, 1, 1, 30, 0.01])
        return array("f", [self.random.gauss(0, 1) * length for _ in range(dimension)]).tobytes()

    def write(self) -> Write:
        key = self.random.choice([b"v/", b"w/"]) + b"%d" % self.random.randrange(60)
        if self.random.random() < 0.35:
            return Write(key, None)
        collection = self.random.choice(list(SHAPES))
        dimension, distance = SHAPES[collection]
        names = self.random.sample(["t", "u", "é", ""], self.random.randint(0, 3))
        metadata = {name: self.random.choice(TEXTS) for name in names}
        return write(key, Embedding(collection, distance, self.vector(dimension), metadata))

    def commit(self) -> None:
        batches = [Batch([self.write() for _ in range(self.random.randint(1, 8))])]
        assert self.store.commit(batches) == self.memory.commit(batches)

    def open_again(self) -> None:
        (self.store.close if self.random.random() < 0.5 else self.store.abandon)()
        self.store = SqliteStore(self.path)
        if self.random.random() < 0.5:
            self.commit()  # nobody tells the index
        self.store.index(b"v/", extract)

    def search(self) -> None:
        collection = self.random.choice([*SHAPES, "none"])
        dimension, _ = SHAPES.get(collection, (3, None))
        names = self.random.sample(["t", "u"], self.random.randint(0, 2))
        where = {name: self.random.choice(TEXTS) for name in names}
        wanted, limit = self.vector(dimension), self.random.choice([0, 1, 3, 10, 5000])
        found = [hit.distance for hit in self.store.search(collection, wanted, limit, where)]
        true = [hit.distance for hit in self.memory.search(collection, wanted, limit, where)]
        assert found == pytest.approx(true, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_it_finds_what_the_memory_store_finds(seed: int, tmp_path: Path) -> None:
    model = Model(seed, tmp_path / "state.db")
    for step in range(120):
        model.commit()
        if step % 20 == 19:
            model.open_again()
        model.search()
    with closing(model.store):
        assert model.store.check() == []
