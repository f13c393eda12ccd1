"""What a figure may be: the same for who asks for it and for who is asked.

Light: zygotes import it, with every behaviour.
"""

import numbers
import operator
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from hundredfold.errors import InvalidArgument

LONGEST_SECONDS: Final = 366 * 86_400
"""The longest time that anything may take, in seconds."""

MEMORY_RECORDS: Final = 1000
"""Most records of one collection that one commit writes and deletes."""

NAME_LENGTH: Final = 200
"""Most characters of a name."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_MOST_BYTES: Final = 1 << 50


class Bounds(NamedTuple):
    """The least and the most that a figure may be; `or_zero` if 0 is possible, too, and means that nothing is said."""

    least: float
    most: float
    or_zero: bool = False

    def allow(self, value: float) -> bool:
        """Return whether a number is within; NaN never is."""
        return self.least <= value <= self.most or (self.or_zero and value == 0)

    def __str__(self) -> str:
        """Say what a figure must be, as one says it."""
        return f"from {_plain(self.least)} to {_plain(self.most)}" + ", or 0" * self.or_zero


PRIORITY: Final = Bounds(-100, 100)
ATTEMPTS: Final = Bounds(1, 1000)
MAX_ATTEMPTS: Final = Bounds(0, 1000)
MULTIPLIER: Final = Bounds(1, 1000, or_zero=True)
SECONDS: Final = Bounds(0, LONGEST_SECONDS)

LIMITS: Final[Mapping[str, Bounds]] = MappingProxyType(
    {
        "memory_bytes": Bounds(16 << 20, _MOST_BYTES, or_zero=True),
        "processes": Bounds(0, 1_000_000),
        "descriptors": Bounds(32, 1 << 30, or_zero=True),
        "output_bytes": Bounds(0, _MOST_BYTES),
    }
)
"""Of the limits of an attempt that are whole numbers, by field."""


def check_integer(field: str, value: object, bounds: Bounds) -> None:
    """Check a whole number.

    Raises:
        InvalidArgument: it is none, or out of its bounds.

    """
    try:
        figure = operator.index(value)  # type: ignore[arg-type]  # that is what is found out here
    except TypeError:
        raise InvalidArgument(field, f"is {value!r} and must be a whole number {bounds}") from None
    if not bounds.allow(figure):
        raise InvalidArgument(field, f"is {figure} and must be {bounds}")


def check_number(field: str, value: object, bounds: Bounds) -> None:
    """Check a number.

    Raises:
        InvalidArgument: it is none, or out of its bounds.

    """
    if not isinstance(value, numbers.Real):
        raise InvalidArgument(field, f"is {value!r} and must be a number {bounds}")
    if not bounds.allow(value):  # type: ignore[arg-type]  # a `Real` is as good as a float
        raise InvalidArgument(field, f"is {value} and must be {bounds}")


def check_name(field: str, text: str) -> None:
    """Check a name that people are shown, in one line.

    Raises:
        InvalidArgument: it is too long, or has a control character.

    """
    check_length(field, text)
    control = _CONTROL.search(text)
    if control:
        raise InvalidArgument(field, f"has the control character {control[0]!r}; none is allowed")


def check_length(field: str, text: str, least: int = 0) -> None:
    """Check how many characters a text has.

    Raises:
        InvalidArgument: too few, or too many.

    """
    if len(text) > NAME_LENGTH:
        raise InvalidArgument(field, f"has {len(text)} characters and may have {NAME_LENGTH}")
    if len(text) < least:
        raise InvalidArgument(field, "is empty")


def _plain(figure: float) -> str:
    return str(int(figure)) if figure == int(figure) else str(figure)
