"""Reading many records, page by page: as many at once as come to about a mebibyte.

Records can be small or megabytes; how large they are is not known before they are read, so the first page is small.
"""

from collections.abc import AsyncIterator
from typing import Final

from hundredfold.stores.contract import Entry

from hundredfold_coordinator.storage import Storage

_FIRST: Final = 4
_MOST: Final = 200
_BYTES: Final = 1 << 20


async def pages(
    storage: Storage, prefix: bytes, *, after: bytes = b"", reverse: bool = False, first: int = _FIRST
) -> AsyncIterator[list[Entry]]:
    """Yield the records whose keys start with `prefix`, in order; whoever has enough goes no further.

    The `first` page is a small one where nobody knows how large they are.
    """
    size = first
    while True:
        entries = await storage.scan(prefix, after=after, limit=size, reverse=reverse)
        if entries:
            yield entries
        if len(entries) < size:
            return
        after = entries[-1].key
        size = fitting(sum(len(entry.record.value) for entry in entries) / len(entries))


def fitting(average_bytes: float) -> int:
    """Return how many records of this size are read at once."""
    return max(1, min(_MOST, int(_BYTES / max(1.0, average_bytes))))
