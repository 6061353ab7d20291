"""Intervals of rates and of quantiles, in closed form. Knows numbers only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

CONFIDENCE: Final = 0.95
_Z: Final = 1.959963984540054


def wilson(rate: float, count: int) -> tuple[float, float] | None:
    """The 95 % score interval of a rate over `count` trials (Wilson 1927); None of none.

    >>> low, high = wilson(0.5, 100)
    >>> round(low, 4), round(high, 4)
    (0.4038, 0.5962)
    """
    if count == 0:
        return None
    spread = _Z * _Z / count
    middle = rate + spread / 2
    half = _Z * math.sqrt(rate * (1 - rate) / count + spread / (4 * count))
    return max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))


def quantile_interval(values: Sequence[float], share: float) -> tuple[float, float] | None:
    """Between which two of the values the quantile lies, with 95 % (order statistics, by the
    binomial distribution); None where the values are too few to have one.

    >>> quantile_interval([float(n) for n in range(100)], 0.95)
    (89.0, 99.0)
    >>> quantile_interval([1.0, 2.0], 0.95) is None
    True
    """
    from scipy.special import bdtr

    count = len(values)
    tail = (1 - CONFIDENCE) / 2
    below = bdtr(np.arange(count, dtype=np.float64), count, share)
    first, last = np.searchsorted(below, [tail, 1 - tail]).tolist()
    if last >= count:
        return None
    ordered = sorted(values)
    return ordered[max(0, first - 1)], ordered[last]
