"""Do more queries fail than before: shares of pairs, their interval, an exact test. No I/O.

For what happens or not: errors, degraded answers, nothing found. Failures are rare, and of two
builds that fail alike none differs, so that no resampling says anything: the interval is a score
interval, which has a width even then, and what is significant is told exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from ecm.errors import ContractError
from ecm.evaluation.significance import POWER, Values

_STEPS: Final = 60


@dataclass(frozen=True)
class Shares:
    """Candidate's share less baseline's, over `queries` pairs.

    `worse` and `better` count queries of which candidate fails more, or less often. `p` is that of
    the sign test over these (one-sided: candidate fails more).
    """

    queries: int
    change: float
    lower: float
    upper: float
    worse: int
    better: int
    confidence: float
    surely: float

    @property
    def p(self) -> float:
        return sign_test(self.worse, self.better)

    @property
    def significant(self) -> bool:
        """Whether candidate fails more, at the error rate of one side of `surely`."""
        return self.p <= (1 - self.surely) / 2

    def detectable_beyond(self, threshold: float) -> float | None:
        """The smallest true rise that would be significant and above `threshold` with a power of
        80 %, when as many queries differ the other way as do here; None where not even all would.
        """
        from scipy.special import bdtrc

        needed = self.better + math.floor(threshold * self.queries) + 1
        while sign_test(needed, self.better) > (1 - self.surely) / 2:
            needed += 1
        if needed > self.queries:
            return None
        chance = _root(lambda rate: float(bdtrc(needed - 1, self.queries, rate)) - POWER, 0, 1)
        return chance - self.better / self.queries


def paired_shares(
    baseline: Values, candidate: Values, *, confidence: float = 0.95, surely: float | None = None
) -> Shares:
    """The score interval of a difference of paired shares (Tango 1998, Statistics in Medicine
    17:891-908).

    Args:
        baseline: (n,) float64 in [0, 1]: whether a query failed, or in which part of its rounds.
            Parts are taken as that part of a query, which is exact where the rounds of a query
            fail together and wide where they do not.
        candidate: the same queries in the same order.
        confidence: of the two-sided interval.
        surely: two-sided confidence of what is significant; as `confidence` by default.

    Raises:
        ContractError: shapes that differ, no query, or values out of [0, 1].
    """
    if baseline.shape != candidate.shape or baseline.ndim != 1 or not len(baseline):
        raise ContractError(f"shares of {baseline.shape} against {candidate.shape}")
    both = np.concatenate([baseline, candidate])
    if not ((both >= 0) & (both <= 1)).all():
        raise ContractError("shares are from 0 to 1")
    differences = candidate - baseline
    more, less = float(differences.clip(0).sum()), float((-differences).clip(0).sum())
    count = len(differences)
    change = (more - less) / count
    z = NormalDist().inv_cdf(1 - (1 - confidence) / 2)
    return Shares(
        queries=count,
        change=change,
        lower=_root(lambda rise: z - _score(rise, more, less, count), -1.0, change),
        upper=_root(lambda rise: -z - _score(rise, more, less, count), change, 1.0),
        worse=int((differences > 0).sum()),
        better=int((differences < 0).sum()),
        confidence=confidence,
        surely=confidence if surely is None else surely,
    )


def sign_test(worse: int, better: int) -> float:
    """The chance of `worse` or more heads in worse + better throws of a fair coin.

    >>> round(sign_test(6, 0), 6), sign_test(0, 0)
    (0.015625, 1.0)
    """
    from scipy.special import bdtrc

    return float(bdtrc(worse - 1, worse + better, 0.5)) if worse else 1.0


def _score(rise: float, more: float, less: float, count: int) -> float:
    """The score statistic of a true difference `rise`; it falls as `rise` grows."""
    linear = (2 * count - more + less) * rise - more - less
    constant = -less * rise * (1 - rise)
    root = math.sqrt(max(linear * linear - 8 * count * constant, 0.0))
    share = (root - linear) / (4 * count)
    variance = count * (2 * share + rise * (1 - rise))
    distance = more - less - count * rise
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


def _root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that rises from `low` to `high` is 0, by halving."""
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
