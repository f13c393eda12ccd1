"""Behaviours of the soak: hogs, and the innocent."""

import time

from hundredfold import behaviour


@behaviour
def grow(mebibytes: int, seconds: float, hold_seconds: float) -> int:
    """Use up memory at an even speed, hold it for a while, and return how much it was."""
    held = []
    begin = time.monotonic()
    for number in range(mebibytes):
        held.append(b"\1" * (1 << 20))
        time.sleep(max(0.0, begin + seconds * (number + 1) / mebibytes - time.monotonic()))
    time.sleep(hold_seconds)
    return len(held)


@behaviour
def leak(mebibytes_per_second: int) -> None:
    """Use up memory until somebody puts an end to it."""
    held = []
    while True:
        held.append(b"\1" * (1 << 20))
        time.sleep(1 / mebibytes_per_second)


@behaviour
def nap(seconds: float) -> float:
    """Sleep."""
    time.sleep(seconds)
    return seconds
