"""How sure a mean is: bootstrap intervals of many columns at once.

The interval of `significance`, drawn another way: each resample counts how often every query was
drawn, so that one matrix of counts serves all columns, and columns of one call stay paired. Knows
numbers only. The gates have intervals of their own; where a report shows those, it shows theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ecm.evaluation.significance import reach_of

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 10_000
FEWEST: Final = 5
"""Queries below which there is no interval: their resamples are too few to say anything."""
_AT_ONCE: Final = 2_000_000


@dataclass(frozen=True)
class Interval:
    """A mean over `queries`, between `lower` and `upper` (None: too few to tell)."""

    mean: float | None
    lower: float | None
    upper: float | None
    queries: int


def intervals(columns: npt.NDArray[np.float64], seed: int) -> list[Interval]:
    """The mean of each column of float64 (n, k), with its 95 % interval.

    NaN: the query says nothing of that column. Columns of the same queries share their resamples.
    """
    there = ~np.isnan(columns)
    patterns, group = np.unique(there, axis=1, return_inverse=True)
    found: dict[int, Interval] = {}
    for number in range(patterns.shape[1]):
        members = np.flatnonzero(group.ravel() == number)
        whole = columns[np.ix_(patterns[:, number], members)]
        found.update(zip(members.tolist(), _of_whole(whole, seed), strict=True))
    return [found[place] for place in range(columns.shape[1])]


def _of_whole(columns: npt.NDArray[np.float64], seed: int) -> list[Interval]:
    count, width = columns.shape
    if count == 0:
        return [Interval(None, None, None, 0)] * width
    means = columns.mean(axis=0)
    if count < FEWEST:
        return [Interval(float(mean), None, None, count) for mean in means]
    distances = np.abs(_resampled(columns, seed) - means)
    reaches = (reach_of(column, count, CONFIDENCE) for column in distances.T)
    return [
        Interval(float(mean), float(mean) - reach, float(mean) + reach, count)
        for mean, reach in zip(means, reaches, strict=True)
    ]


def _resampled(columns: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float64]:
    """float64 (RESAMPLES, k): means of the resamples of (n, k)."""
    count = columns.shape[0]
    generator = np.random.default_rng(seed)
    shares = np.full(count, 1.0 / count)
    size = max(1, _AT_ONCE // count)
    parts = [
        generator.multinomial(count, shares, size=min(size, RESAMPLES - start)) @ columns
        for start in range(0, RESAMPLES, size)
    ]
    drawn: npt.NDArray[np.float64] = np.concatenate(parts) / count
    return drawn
