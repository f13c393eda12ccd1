"""How vectors are laid out so that the same nearest ones are found by the Euclidean distance, whichever was asked for.

Every vector gets one number more. What is searched by angle is scaled to length 1, and a vector of zeros becomes a
direction of its own, at a right angle to all others. What is searched by dot product is scaled by a power of two to a
length below 1 and lifted onto the unit sphere by the number it gets; only vectors of one power are comparable then.
"""

import math
from array import array
from collections.abc import Sequence
from operator import mul

from hundredfold.stores.search import Distance


def lay(distance: Distance, vector: bytes) -> tuple[int, bytes]:
    """Return the power of two by which a vector is scaled down, and how it is laid out."""
    if distance is Distance.EUCLIDEAN:
        return 0, vector + bytes(4)
    numbers = array("f", vector)
    length = math.hypot(*numbers)
    if distance is Distance.COSINE:
        return 0, _scaled(numbers, length) if length else bytes(len(vector)) + array("f", [1]).tobytes()
    exponent = math.frexp(length)[1]
    unit = array("f", [math.ldexp(number, -exponent) for number in numbers])
    unit.append(math.sqrt(1 - min(math.ldexp(length, -exponent), 1) ** 2))
    return exponent, unit.tobytes()


def lay_wanted(distance: Distance, vector: bytes) -> bytes:
    """Return how a vector is laid out of which the nearest ones are wanted."""
    if distance is Distance.EUCLIDEAN:
        return vector + bytes(4)
    numbers = array("f", vector)
    length = math.hypot(*numbers)
    return _scaled(numbers, length) if length else bytes(len(vector) + 4)


def apart(distance: Distance, exponent: int, laid: bytes, wanted: Sequence[float]) -> float:
    """Return how far a vector that is laid out is from another one that is not."""
    numbers = array("f", laid)
    if distance is Distance.EUCLIDEAN:
        return math.dist(numbers[:-1], wanted)
    product = sum(map(mul, numbers, wanted))
    if distance is Distance.DOT:
        return -math.ldexp(product, exponent)
    length = math.hypot(*wanted)
    return 1 - product / length if length else 1.0


def _scaled(numbers: Sequence[float], length: float) -> bytes:
    return array("f", [*(number / length for number in numbers), 0]).tobytes()
