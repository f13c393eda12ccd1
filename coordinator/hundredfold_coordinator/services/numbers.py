"""Numbers in requests that have a default and a most."""

from hundredfold.errors import InvalidArgument


def within(field: str, number: int, most: int, default: int) -> int:
    """Return a number from 1 to `most`, the default for 0.

    Raises:
        InvalidArgument: it is another one.

    """
    if not 0 <= number <= most:
        raise InvalidArgument(field, f"is {number} and must be from 1 to {most}, or 0 for {default}")
    return number or default
