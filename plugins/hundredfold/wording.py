"""Figures as people say them."""

from typing import Final

_KIB: Final = 1024
_EXACT: Final = 100


def size(count: int) -> str:
    """Return a number of bytes: `3.4 MiB`, `340 MiB`."""
    amount, units = float(count), iter(("B", "KiB", "MiB", "GiB"))
    unit = next(units)
    while amount >= _KIB and unit != "GiB":
        amount, unit = amount / _KIB, next(units)
    return f"{amount:.0f} {unit}" if amount >= _EXACT else f"{amount:.1f}".removesuffix(".0") + f" {unit}"


def counted(count: int, noun: str) -> str:
    """Return how many there are of something: `1 attempt`, `2 attempts`."""
    return f"{count} {noun}{'s' * (count != 1)}"
