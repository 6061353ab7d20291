"""Estimates with one-sided bounds: shares of pairs, means, ratios. Arithmetic only, no I/O.

A sample without replacement of most of a population tells more than one of an endless population:
every bound is drawn in by the finite population correction (Cochran 1977, section 2.6), until a
sample of everything has no uncertainty left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

RESAMPLES: Final = 2000
FEW: Final = 5000
"""Up to so many values means are resampled; of more the central limit theorem is exact enough."""
_CELLS: Final = 4_000_000

Values = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate of `count` items between two one-sided bounds, each of the same confidence."""

    count: int
    estimate: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Surety:
    """How sure bounds are to be, of a population of how many, and the seed of what is drawn."""

    confidence: float
    population: int
    seed: int = 0

    @property
    def z(self) -> float:
        """The standard normal deviate of one-sided bounds."""
        return NormalDist().inv_cdf(self.confidence)

    def effective(self, sample: int) -> float:
        """The size of a sample of an endless population that tells as much; inf for all there is.

        >>> Surety(0.95, 300).effective(100)
        149.5
        """
        if sample >= self.population:
            return math.inf
        return sample * (self.population - 1) / (self.population - sample)


def wilson(share: float, size: float, z: float) -> tuple[float, float]:
    """Score bounds of a share of `size` items (Wilson 1927), which may be inf.

    >>> [round(bound, 3) for bound in wilson(0.0, 100, 1.645)]
    [0.0, 0.026]
    """
    if math.isinf(size):
        return share, share
    middle = share + z * z / (2 * size)
    spread = z * math.sqrt(share * (1 - share) / size + z * z / (4 * size * size))
    scale = 1 + z * z / size
    return max((middle - spread) / scale, 0.0), min((middle + spread) / scale, 1.0)


def share(hits: int, count: int, surety: Surety) -> Interval:
    """A share of `count` (1 or more) items."""
    lower, upper = wilson(hits / count, surety.effective(count), surety.z)
    return Interval(count, hits / count, lower, upper)


def share_difference(a: Flags, b: Flags, surety: Surety) -> Interval:
    """Share of b less share of a over the same n (1 or more) items.

    The hybrid score interval for paired proportions (Newcombe 1998, Statistics in Medicine
    17:2635-2650, method 10): Wilson's bounds of either share, put together by how they correlate.
    """
    count = len(a)
    first, second = float(b.mean()), float(a.mean())
    size, z = surety.effective(count), surety.z
    low1, high1 = wilson(first, size, z)
    low2, high2 = wilson(second, size, z)
    phi = _correlation(a, b)
    down1, up1, down2, up2 = first - low1, high1 - first, second - low2, high2 - second
    below = math.sqrt(max(down1**2 - 2 * phi * down1 * up2 + up2**2, 0.0))
    above = math.sqrt(max(up1**2 - 2 * phi * up1 * down2 + down2**2, 0.0))
    estimate = first - second
    return Interval(count, estimate, estimate - below, estimate + above)


def mean(values: Values, surety: Surety) -> Interval:
    """The mean of 1 or more finite values, by the percentile bootstrap (Efron 1979) of few."""
    estimate = math.fsum(values) / len(values)
    if len(values) > FEW:
        error = surety.z * float(values.std(ddof=1)) / math.sqrt(surety.effective(len(values)))
        return Interval(len(values), estimate, estimate - error, estimate + error)
    return _drawn_in(_resampled(values[:, None], surety)[:, 0], estimate, len(values), surety)


def ratio(a: Values, b: Values, surety: Surety) -> Interval:
    """Mean of b by mean of a over the same n (1 or more) items; the mean of a is not 0.

    Of more than 5000 items the error is that of the linearised ratio (Cochran 1977, section 2.11).
    """
    estimate = float(b.mean() / a.mean())
    if len(a) > FEW:
        residuals = (b - estimate * a) / a.mean()
        error = surety.z * float(residuals.std(ddof=1)) / math.sqrt(surety.effective(len(a)))
        return Interval(len(a), estimate, estimate - error, estimate + error)
    means = _resampled(np.stack([a, b], axis=1), surety)
    means = means[means[:, 0] != 0]
    return _drawn_in(means[:, 1] / means[:, 0], estimate, len(a), surety)


def _correlation(a: Flags, b: Flags) -> float:
    """Newcombe's phi: of the two-by-two table of pairs, with his correction for continuity."""
    count = len(a)
    both, neither = int((a & b).sum()), int((~a & ~b).sum())
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    margins = (both + only_a) * (both + only_b) * (neither + only_a) * (neither + only_b)
    if not margins:
        return 0.0
    cross = both * neither - only_a * only_b
    corrected = max(cross - count / 2, 0.0) if cross > 0 else float(cross)
    return corrected / math.sqrt(margins)


def _resampled(rows: Values, surety: Surety) -> Values:
    """(RESAMPLES, columns): column means of rows (n, columns), n of them drawn with repeats."""
    rng = np.random.default_rng(surety.seed)
    at_once = max(1, _CELLS // len(rows))
    parts = []
    for begun in range(0, RESAMPLES, at_once):
        drawn = rng.integers(0, len(rows), (min(at_once, RESAMPLES - begun), len(rows)))
        parts.append(rows[drawn].mean(axis=1))
    return np.concatenate(parts)


def _drawn_in(estimates: Values, estimate: float, count: int, surety: Surety) -> Interval:
    """Percentiles of resampled estimates, as near as the finite population makes them."""
    low, high = np.quantile(estimates, [1 - surety.confidence, surety.confidence])
    nearer = math.sqrt(count / surety.effective(count))
    return Interval(
        count, estimate, estimate + (low - estimate) * nearer, estimate + (high - estimate) * nearer
    )
