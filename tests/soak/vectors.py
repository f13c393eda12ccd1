"""What searching for vectors costs: how good and how fast it is, and what commits and the loop notice of it.

`measure` takes any store that can search, so that backends can be compared.
"""

import asyncio
import contextlib
import gc
import multiprocessing
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from hundredfold.stores.contract import Batch, Store, Write
from hundredfold.stores.search import Distance, Embedding, Searching
from hundredfold.stores.sqlite import SqliteStore

_WANTED: Final = 10
_SEARCHES: Final = 200
_COMMITS: Final = 300
_CENTRES: Final = 200
_BATCH: Final = 500


class Pulse:
    """A loop that does nothing but notice when it was kept from it; and another one in a process of its own.

    What both of them notice is the machine's doing.
    """

    def __init__(self) -> None:
        self._open = True
        self._own: array[float] = array("d", [0])
        self._thread = threading.Thread(target=asyncio.run, args=(_beat(self._own, lambda: self._open),))
        self._thread.start()
        context = multiprocessing.get_context("spawn")
        self._machine = context.Array("d", 1, lock=False)
        self._process = context.Process(target=_beat_alone, args=(self._machine,), daemon=True)
        self._process.start()

    def take(self, phase: str) -> dict[str, float]:
        """Return the longest block since the last time, in milliseconds: of this process, and of the machine."""
        figures = {f"{phase}_block_ms": self._own[0], f"{phase}_machine_block_ms": self._machine[0]}
        self._own[0] = self._machine[0] = 0.0
        return {name: round(seconds * 1000, 1) for name, seconds in figures.items()}

    def close(self) -> None:
        self._open = False
        self._thread.join()
        self._process.kill()
        self._process.join()


async def _beat(longest: Any, is_open: Callable[[], bool]) -> None:
    while is_open():
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        longest[0] = max(longest[0], time.perf_counter() - began - 0.001)


def _beat_alone(longest: Any) -> None:
    asyncio.run(_beat(longest, lambda: True))


class Data:
    """Vectors of a collection, and others to search for."""

    def __init__(self, collection: str, vectors: Any, wanted: Any) -> None:
        self.collection, self.vectors, self.wanted = collection, vectors, wanted
        lengths = np.linalg.norm(vectors, axis=1)
        some = wanted[: _SEARCHES // 4]
        self._nearest = [np.argsort(-(vectors @ one) / lengths)[:_WANTED].tolist() for one in some]

    def commit(self, store: Store) -> None:
        """Commit all of them."""
        for start in range(0, len(self.vectors), _BATCH):
            rows = enumerate(self.vectors[start : start + _BATCH], start)
            store.commit([Batch([Write(self.key(number), value(self.collection, row)) for number, row in rows])])

    def key(self, number: int) -> bytes:
        return f"v/{self.collection}/{number:08}".encode()

    def recall(self, search: Callable[[bytes], list[bytes]]) -> float:
        """Return the share of the nearest ones that is found."""
        found = 0
        for wanted, nearest in zip(self.wanted, self._nearest, strict=False):
            found += len({self.key(number) for number in nearest} & set(search(wanted.tobytes())))
        return round(found / _WANTED / (_SEARCHES // 4), 4)


def vectors(directory: Path, n: int = 100_000) -> dict[str, Any]:
    """Search `n` vectors of 256 dimensions in the default store, spread evenly, and as many in clusters."""
    with contextlib.closing(SqliteStore(directory / "hundredfold.db")) as store:
        return measure(store, n, 256)


def measure(store: Store, n: int, dimension: int) -> dict[str, Any]:
    """Search a store, which has to be empty, for vectors; return the figures."""
    assert isinstance(store, Searching)
    even, clustered = _data(n, dimension)
    gc.collect()
    gc.freeze()  # as the coordinator does when it starts
    with contextlib.closing(Pulse()) as pulse:
        even.commit(store)
        time.sleep(2)
        pulse.take("")
        time.sleep(3)
        figures: dict[str, Any] = {"n": n, "dimension": dimension} | pulse.take("idle")
        began = time.perf_counter()
        store.index(b"v/", extract)
        store.search("even", even.wanted[0].tobytes(), _WANTED)
        figures |= {"build_s": round(time.perf_counter() - began, 2)} | pulse.take("build")
        began = time.perf_counter()
        clustered.commit(store)
        store.search("clustered", even.wanted[0].tobytes(), _WANTED)
        figures |= {"catch_up_per_s": round(n / (time.perf_counter() - began))} | pulse.take("catch_up")
        figures |= _searches(store, [even, clustered]) | pulse.take("search")
        figures |= _commits(store, "alone", dimension) | pulse.take("commit")
        with _searching(store, even):
            figures |= _commits(store, "beside_searches", dimension)
        return figures | pulse.take("both")


def value(collection: str, vector: Any) -> bytes:
    """Return a record that has a vector in it."""
    return collection.encode().ljust(16) + array("f", vector).tobytes()


def extract(stored: bytes) -> Embedding:
    """Return the vector in it."""
    return Embedding(stored[:16].decode().rstrip(), Distance.COSINE, stored[16:])


def _data(n: int, dimension: int) -> tuple[Data, Data]:
    random = np.random.default_rng(1)
    even = random.standard_normal((n + _SEARCHES, dimension), dtype=np.float32)
    centres = random.standard_normal((_CENTRES, dimension), dtype=np.float32)
    spread = random.standard_normal((n + _SEARCHES, dimension), dtype=np.float32) * np.float32(0.1)
    near = centres[random.integers(_CENTRES, size=n + _SEARCHES)] + spread
    return Data("even", even[:n], even[n:]), Data("clustered", near[:n], near[n:])


def _searches(store: Searching, data: Sequence[Data]) -> dict[str, Any]:
    seconds: list[float] = []
    figures: dict[str, Any] = {}
    for one in data:

        def search(vector: bytes, collection: str = one.collection) -> list[bytes]:
            began = time.perf_counter()
            hits = store.search(collection, vector, _WANTED)
            seconds.append(time.perf_counter() - began)
            return [hit.key for hit in hits]

        figures[f"recall_{one.collection}"] = one.recall(search)
        for wanted in one.wanted[_SEARCHES // 4 :]:
            search(wanted.tobytes())
    return figures | _percentiles("search", seconds)


@contextlib.contextmanager
def _searching(store: Searching, data: Data) -> Iterator[None]:
    """Search one time after the other, in a thread."""
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            store.search(data.collection, data.wanted[0].tobytes(), _WANTED)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _commits(store: Store, name: str, dimension: int) -> dict[str, Any]:
    """Commit records, every tenth with a vector."""
    seconds = []
    for number in range(_COMMITS):
        key = b"v/more/%d" % number if number % 10 == 0 else b"task/%d" % number
        began = time.perf_counter()
        store.commit([Batch([Write(key, value("more", [1.0] * dimension))])])
        seconds.append(time.perf_counter() - began)
        time.sleep(0.002)
    return _percentiles(f"commit_{name}", seconds)


def _percentiles(name: str, seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    at = {"p50_ms": 0.5, "p99_ms": 0.99}
    return {
        f"{name}_{end}": round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 2)
        for end, share in at.items()
    }
