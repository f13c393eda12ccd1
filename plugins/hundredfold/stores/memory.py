"""A store in memory, for tests: everything is gone with the process."""

import heapq
import math
from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence

from hundredfold.errors import Fenced
from hundredfold.stores.contract import (
    ABSENT,
    Batch,
    Capabilities,
    Committed,
    Conflict,
    Entry,
    Guard,
    Record,
    end_of_prefix,
)
from hundredfold.stores.plan import Plan, asked_keys, plan_commit
from hundredfold.stores.search import Distance, Embedding, Extract, Hit


class MemoryStore:
    """A dictionary and its sorted keys."""

    url = "memory:"
    capabilities = Capabilities(durable=False, shared=False, vectors=True)

    def __init__(self) -> None:
        self._records: dict[bytes, Record] = {}
        self._keys: list[bytes] = []
        self._version = 0
        self._prefix: bytes | None = None

    def get(self, keys: Sequence[bytes]) -> list[Record | None]:
        """See `Store.get`."""
        return [self._records.get(key) for key in keys]

    def scan(self, prefix: bytes, *, after: bytes = b"", limit: int = 1000, reverse: bool = False) -> list[Entry]:
        """See `Store.scan`."""
        end = end_of_prefix(prefix)
        low = bisect_left(self._keys, prefix)
        high = bisect_left(self._keys, end) if end else len(self._keys)
        if after and reverse:
            high = min(high, bisect_left(self._keys, after))
        elif after:
            low = max(low, bisect_right(self._keys, after))
        keys = self._keys[low:high]
        return [Entry(key, self._records[key]) for key in (keys[::-1] if reverse else keys)[:limit]]

    def commit(self, batches: Iterable[Batch], guard: Guard | None = None) -> list[Committed | Conflict]:
        """See `Store.commit`."""
        plan = self.plan(list(batches), guard)
        self.apply(plan)
        return plan.results

    def plan(self, batches: Sequence[Batch], guard: Guard | None = None) -> Plan:
        """Return what a commit comes to; for stores that write it down somewhere before it is made.

        Raises:
            Fenced: the guard does not hold.

        """
        if guard and self._version_of(guard.key) != guard.version:
            raise Fenced
        versions = {key: self._version_of(key) for key in asked_keys(batches)}
        return plan_commit(batches, versions, self._version)

    def apply(self, plan: Plan) -> None:
        """Make a commit that was planned, when nothing else was made since."""
        self._version = plan.version
        for key, record in plan.changes.items():
            self._write(key, record)

    def index(self, prefix: bytes, extract: Extract) -> None:
        """See `Searching.index`."""
        self._prefix, self._extract = prefix, extract

    def search(self, collection: str, vector: bytes, limit: int, where: Mapping[str, str] | None = None) -> list[Hit]:
        """See `Searching.search`: it looks at everything there is."""
        if self._prefix is None:
            return []
        wanted, narrowed = array("f", vector), (where or {}).items()
        hits = []
        for key, record in list(self._records.items()):  # a copy, for another thread may commit meanwhile
            found = self._extract(record.value) if key.startswith(self._prefix) else None
            if found and found.collection == collection and narrowed <= found.metadata.items():
                hits.append(Hit(key, _apart(found, wanted)))
        return heapq.nsmallest(limit, hits, key=lambda hit: (hit.distance, hit.key))

    def close(self) -> None:
        """See `Store.close`."""

    def _write(self, key: bytes, record: Record | None) -> None:
        known = key in self._records
        if record is not None:
            self._records[key] = record
            if not known:
                insort(self._keys, key)
        elif known:
            del self._records[key]
            del self._keys[bisect_left(self._keys, key)]

    def _version_of(self, key: bytes) -> int:
        record = self._records.get(key)
        return record.version if record else ABSENT


def _apart(one: Embedding, other: "array[float]") -> float:
    vector = array("f", one.vector)
    dot = sum(a * b for a, b in zip(vector, other, strict=True))
    match one.distance:
        case Distance.EUCLIDEAN:
            return math.dist(vector, other)
        case Distance.DOT:
            return -dot
        case Distance.COSINE:
            lengths = math.hypot(*vector) * math.hypot(*other)
            return 1 - dot / lengths if lengths else 1.0
