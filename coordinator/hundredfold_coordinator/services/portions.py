"""Messages of a stream, none of them larger than a client with gRPC's default limits takes."""

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

from google.protobuf.message import Message

_BYTES: Final = 1 << 20

_M = TypeVar("_M", bound=Message)


def portions(messages: Sequence[_M]) -> Iterator[list[_M]]:
    """Yield the messages in lists of about 1 MiB; one that is larger is alone."""
    portion: list[_M] = []
    size = 0
    for message in messages:
        if portion and size + message.ByteSize() > _BYTES:
            yield portion
            portion, size = [], 0
        portion.append(message)
        size += message.ByteSize()
    if portion:
        yield portion
