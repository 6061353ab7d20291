"""Latencies as counts by bucket, so that those of many replicas add up.

Bounds of buckets grow by GROWTH: a quantile that is read from them is at most so much too high.
Knows no clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

GROWTH: Final = 2 ** (1 / 16)
"""Of one bound over the one before, 4.4 %."""
LEAST_MS: Final = 0.1
LAST: Final = 400
"""The last bucket: beyond an hour."""


def bucket_of(milliseconds: float) -> int:
    """The bucket of a latency, from 0: the first whose bound it does not exceed.

    >>> bucket_of(0.05), bucket_of(0.1), bucket_of(10.0), bound_ms(107) > 10.0
    (0, 0, 107, True)
    """
    if milliseconds <= LEAST_MS:
        return 0
    return min(LAST, math.ceil(math.log(milliseconds / LEAST_MS, GROWTH) - 1e-9))


def bound_ms(bucket: int) -> float:
    """The highest latency of a bucket, milliseconds."""
    return LEAST_MS * GROWTH**bucket


def added(counts: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """The sum of several counts."""
    total: dict[int, int] = {}
    for one in counts:
        for bucket, count in one.items():
            total[bucket] = total.get(bucket, 0) + count
    return total


def quantile_ms(counts: Mapping[int, int], q: float) -> float | None:
    """The bound of the bucket in which a quantile lies (the smallest x with F(x) >= q), or None
    without any counts.

    >>> quantile_ms({0: 94, 107: 6}, 0.95) == bound_ms(107), quantile_ms({}, 0.95)
    (True, None)
    """
    wanted, seen = q * sum(counts.values()), 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if counts[bucket] and seen >= wanted - 1e-9:
            return bound_ms(bucket)
    return None


def above(counts: Mapping[int, int], milliseconds: float) -> int:
    """How many are surely above: those of buckets that begin there or later."""
    return sum(
        count for bucket, count in counts.items() if bucket and bound_ms(bucket - 1) >= milliseconds
    )
