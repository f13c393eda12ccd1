"""Durations in requests, checked."""

from google.protobuf.duration_pb2 import Duration
from hundredfold.errors import InvalidArgument

_LONGEST_SECONDS = 366 * 86_400


def seconds_of(field: str, duration: Duration) -> float:
    """Return the seconds of a duration.

    Raises:
        InvalidArgument: it is negative, or longer than a year.

    """
    seconds = duration.seconds + duration.nanos / 1e9
    if not 0 <= seconds <= _LONGEST_SECONDS:
        raise InvalidArgument(field, f"is {seconds:g} s and must be from 0 to {_LONGEST_SECONDS}")
    return seconds
