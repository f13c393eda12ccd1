"""A commit as the script takes it, and what the script answers."""

from collections.abc import Iterable, Iterator, Sequence
from struct import Struct
from typing import Final

from hundredfold.stores.contract import ANY, Batch, Committed, Conflict, Guard, Record, Write

_VERSION: Final = Struct(">Q")
_ANSWER: Final = Struct(">QQ")
_CONFLICT: Final = Struct(">II")


def encoded(batches: Iterable[Batch], guard: Guard | None) -> list[bytes]:
    """Return the arguments of the script that say what to commit; see commit.lua.

    Raises:
        ValueError: a key is empty.

    """
    arguments = [guard.key, _VERSION.pack(guard.version)] if guard else [b"", b""]
    for batch in batches:
        arguments.append(b"".join(b"d" if write.value is None else b"p" for write in batch.writes))
        for write in batch.writes:
            arguments += _arguments(write)
    return arguments


def makes_no_room_less(batches: Iterable[Batch]) -> bool:
    """Return whether nothing is put, so that a full server may let it through."""
    return all(write.value is None for batch in batches for write in batch.writes)


def decoded(answer: bytes, count: int) -> list[Committed | Conflict]:
    """Return what became of each of `count` batches."""
    _number, version = _ANSWER.unpack_from(answer)
    conflicts = dict(_conflicts(answer))
    results: list[Committed | Conflict] = []
    for batch in range(count):
        if batch in conflicts:
            results.append(Conflict(conflicts[batch]))
        else:
            version += 1
            results.append(Committed(version))
    return results


def version_in(stored: bytes | None) -> int:
    """Return the version with which a stored record begins; 0 if there is none."""
    return int(_VERSION.unpack_from(stored)[0]) if stored else 0


def record_in(stored: bytes) -> Record:
    """Return a stored record."""
    return Record(stored[_VERSION.size :], version_in(stored))


def bounds(prefix: bytes, end: bytes, after: bytes, *, reverse: bool) -> Sequence[bytes]:
    """Return where a scan begins and where it ends, as ZRANGE takes them; `end` is behind the prefix, if not empty."""
    first, last = b"[" + prefix, b"(" + end if end else b"+"
    if not after:
        return (last, first) if reverse else (first, last)
    if reverse:
        return (b"(" + (min(after, end) if end else after), first)
    return (b"(" + after if after >= prefix else first, last)


def _arguments(write: Write) -> Sequence[bytes]:
    if not write.key:
        raise ValueError("a key may not be empty")
    expects = b"" if write.expects == ANY else _VERSION.pack(write.expects)
    return (write.key, expects) if write.value is None else (write.key, expects, write.value)


def _conflicts(answer: bytes) -> Iterator[tuple[int, bytes]]:
    at = _ANSWER.size
    while at < len(answer):
        batch, length = _CONFLICT.unpack_from(answer, at)
        at += _CONFLICT.size + length
        yield batch, answer[at - length : at]
