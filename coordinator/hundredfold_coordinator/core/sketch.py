"""A distribution of positive figures, in a few hundred bytes, however many there were.

A histogram with buckets of equal ratio: every quantile is within `ACCURACY` of a figure that was really there (Masson,
Rim and Lee, DDSketch, VLDB 2019). Later figures weigh more, so that what changes is learned again.
"""

import math
from typing import Final

from hundredfold.internal.v1 import records_pb2

ACCURACY: Final = 0.02
_RATIO: Final = (1 + ACCURACY) / (1 - ACCURACY)
_GROWTH: Final = 1.005
"""By how much each figure outweighs the one before: the last 200 make up two thirds of all weight."""
_HEAVY: Final = 1e12
_ROUNDING: Final = 1e-9
_LEAST: Final = 1e-9


def add(sketch: records_pb2.Sketch, value: float) -> None:
    """Add a figure; what is not above zero counts as the smallest there is."""
    bucket = math.ceil(math.log(max(value, _LEAST)) / math.log(_RATIO))
    sketch.weight = sketch.weight * _GROWTH if sketch.weight else 1.0
    sketch.buckets[bucket] += sketch.weight
    sketch.count += 1
    if sketch.weight > _HEAVY:
        _make_light(sketch)


def quantile(sketch: records_pb2.Sketch, share: float) -> float:
    """Return the figure that this share of the weight does not exceed; 0 if there is none."""
    left = share * sum(sketch.buckets.values())
    for bucket in sorted(sketch.buckets):
        left -= sketch.buckets[bucket]
        if left <= _ROUNDING:
            return float(2 * _RATIO**bucket / (_RATIO + 1))
    return 0.0


def _make_light(sketch: records_pb2.Sketch) -> None:
    """Divide all weights, and drop what has none left."""
    for bucket, weight in list(sketch.buckets.items()):
        if weight < 1:
            del sketch.buckets[bucket]
        else:
            sketch.buckets[bucket] = weight / _HEAVY
    sketch.weight /= _HEAVY
