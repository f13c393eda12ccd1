"""Searching a hundred thousand vectors: how well, how fast, and what it costs to have them searchable."""

import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from hundredfold.stores.contract import Batch, Write
from hundredfold.stores.postgresql.store import PostgresqlStore
from hundredfold.stores.search import Distance, Embedding
from servers.postgresql import running_postgresql

_DIMENSION: Final = 256
_CLUSTERS: Final = 1_000
_BATCHES: Final = 100
_QUERIES: Final = 300
_NEAREST: Final = 10
_PREFIX: Final = b"v/"
_COLLECTION: Final = 'it\'s "all" of them'


def postgresql(directory: Path, n: int = 100_000) -> dict[str, Any]:
    """Commit `n` vectors in clusters, wait for their index, and search for the ten nearest of others."""
    random = np.random.default_rng(1)
    centres = random.normal(size=(_CLUSTERS, _DIMENSION))
    stored, asked = (_clustered(random, centres, number) for number in (n, _QUERIES))
    with _opened(directory) as store:
        store.index(_PREFIX, _extract)
        began = time.perf_counter()
        commits = _load(store, stored)
        loaded = time.perf_counter()
        before = _search(store, stored, asked[:20])
        calm = _until_indexed(store, loaded)
        after = _search(store, stored, asked)
        narrowed = {f"one_in_{one}": _search(store, stored, asked[:50], one) for one in (2, 40, 100, 5_000)}
        added = _load(store, asked)
    return {
        "n": n,
        "load_s": round(loaded - began, 1),
        "commit_ms": _p50(commits),
        "index_s": round(calm - loaded, 1),
        "unindexed": before,
        **after,
        "narrowed": narrowed,
        "indexed_commit_ms": _p50(added),
    }


def _clustered(random: np.random.Generator, centres: Any, number: int) -> Any:
    noise = random.normal(scale=0.5, size=(number, _DIMENSION))
    found = centres[random.integers(len(centres), size=number)] + noise
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype("<f4")


def _extract(value: bytes) -> Embedding:
    number = int.from_bytes(value[:8])
    metadata = {f"one_in_{one}": str(number % one) for one in (2, 40, 100, 5_000)}
    return Embedding(_COLLECTION, Distance.COSINE, value[8:], metadata)


def _load(store: PostgresqlStore, many: Any) -> list[float]:
    """Commit them, a hundred at a time; return the seconds of each commit."""
    seconds = []
    taken = len(store.scan(_PREFIX, limit=1, reverse=True)) and 1 << 40
    for start in range(0, len(many), _BATCHES):
        batches = [
            Batch([Write(_PREFIX + number.to_bytes(8), number.to_bytes(8) + vector.tobytes())])
            for number, vector in enumerate(many[start : start + _BATCHES], taken + start)
        ]
        began = time.perf_counter()
        store.commit(batches)
        seconds.append(time.perf_counter() - began)
        if start % 10_000 == 0:
            sys.stderr.write(".")
    return seconds


def _search(store: PostgresqlStore, stored: Any, asked: Any, one_in: int = 1) -> dict[str, float]:
    """Return how much of the truth is found, and how long it takes; among all, or among one in so many."""
    found = 0.0
    times = []
    for number, vector in enumerate(asked):
        candidates = np.arange(number % one_in, len(stored), one_in)
        truth = set(candidates[np.argsort(-(stored[candidates] @ vector))[:_NEAREST]].tolist())
        where = {f"one_in_{one_in}": str(number % one_in)} if one_in > 1 else None
        began = time.perf_counter()
        hits = store.search(_COLLECTION, vector.tobytes(), _NEAREST, where)
        seconds = time.perf_counter() - began
        times.append(seconds)
        found += len(truth & {int.from_bytes(hit.key[len(_PREFIX) :]) for hit in hits}) / len(truth)
    return {"recall": round(found / len(asked), 4), "p50_ms": _p50(times), "p99_ms": _p50(times, 0.99)}


def _until_indexed(store: PostgresqlStore, loaded: float) -> float:
    """Wait until searches are several times as fast, or do not become so; return when that was."""
    began = time.perf_counter()
    some = store.scan(_PREFIX, limit=20)
    slow = None
    while time.perf_counter() - began < 600:
        times = []
        for entry in some:
            asked = time.perf_counter()
            store.search(_COLLECTION, entry.record.value[8:], _NEAREST)
            times.append(time.perf_counter() - asked)
        fast = min(times)
        slow = slow or fast
        if fast < slow / 3:
            return time.perf_counter()
        time.sleep(1)
    return loaded


def _p50(seconds: list[float], share: float = 0.5) -> float:
    return round(sorted(seconds)[int(len(seconds) * share)] * 1e3, 2)


@contextmanager
def _opened(directory: Path) -> Iterator[PostgresqlStore]:
    directory.chmod(0o755)  # a server that refuses to run as root gets another user
    with (
        running_postgresql(str(directory), autovacuum="on", shared_buffers="128MB") as server,
        closing(PostgresqlStore(server.new_database())) as store,
    ):
        yield store
