"""What people are shown: figures as one says them, URLs without their secrets."""

import re
from typing import Final

_PASSWORD: Final = re.compile(r"(?<=://)([^/@:]*):[^/@]*@|(?<=[?&])(password)=[^&]*")

_KIB: Final = 1024
_EXACT: Final = 100


def size(count: int) -> str:
    """Return a number of bytes: `3.4 MiB`, `340 MiB`."""
    amount, units = float(count), iter(("B", "KiB", "MiB", "GiB"))
    unit = next(units)
    while amount >= _KIB and unit != "GiB":
        amount, unit = amount / _KIB, next(units)
    return f"{amount:.0f} {unit}" if amount >= _EXACT else f"{amount:.1f}".removesuffix(".0") + f" {unit}"


def masked(url: str) -> str:
    """Return a URL with stars for its password."""
    return _PASSWORD.sub(lambda found: "password=***" if found[2] else f"{found[1]}:***@", url)


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return how many there are of something: `1 attempt`, `2 attempts`."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
