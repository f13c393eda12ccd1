"""Durations in requests, checked."""

from google.protobuf.duration_pb2 import Duration
from hundredfold import bounds


def seconds_of(field: str, duration: Duration) -> float:
    """Return the seconds of a duration.

    Raises:
        InvalidArgument: it is negative, or longer than a year.

    """
    seconds = duration.seconds + duration.nanos / 1e9
    bounds.check_number(field, seconds, bounds.SECONDS)
    return seconds
