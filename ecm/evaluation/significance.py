"""Is a difference more than chance: intervals of paired differences, and what could be found.

Both sides answer the same queries, and queries are what is drawn: intervals say what another sample
of queries would show, not what another machine or another day would. Arithmetic only: seeded, no
I/O, no clock. Which difference matters is known to `gates`.

**Interval.** The bootstrap (Efron 1979) over queries, symmetric about the estimate: it reaches as
far as `1 - alpha` of the resampled estimates lie from it, alpha being widened for small samples as
Hesterberg (2015, The American Statistician 69:371-386) widens percentiles: by Student's t instead
of the normal, and for the variance that a resample lacks. Differences of
rankings are mostly 0 with a few large ones; benchmarks/significance.py has the coverage of this
interval, of percentiles and of BCa on such differences.

**Power.** A change is found when the estimate is beyond a threshold and further from 0 than
`beyond`: half the interval, or half a wider one where several gates share a chance to err.
What would be found in 80 of 100 repetitions lies 0.9 standard errors or so beyond the larger of
both; the standard error was estimated twice, here and in the repetition, and is widened for that.
A true change comes as changes of single queries, which vary more than these do: as much as changes
of the size that was seen, in so many queries as make up the change.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from ecm.errors import ContractError

POWER: Final = 0.8
_AIM: Final = 0.82
"""Of the normal arithmetic: few large losses fall a point or two short of it."""
LEAST: Final = 2
"""Queries below which there is no spread to go by."""
_STEPS: Final = 20
_CELLS: Final = 2_000_000
"""Drawn queries at a time: 16 MB of float64."""

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Paired:
    """Candidate less baseline over `queries` pairs; relative where the function says so.

    `error` is the standard error of `change`, `beyond` how far from 0 it must be to be significant,
    and `size` that of a typical change of one query: the mean of squares by the mean of sizes.
    `detectable` is the smallest true change that would be found with a power of 80 %; None where
    all pairs are alike, so that nothing is known of their spread. `wilcoxon_p` is that of the
    signed-rank test (two-sided), 1 where all are alike, None where there is none.
    """

    queries: int
    change: float
    lower: float
    upper: float
    error: float
    beyond: float
    confidence: float
    wilcoxon_p: float | None = None
    size: float = 0.0

    @property
    def detectable(self) -> float | None:
        return self.detectable_beyond(0.0)

    def detectable_beyond(self, threshold: float) -> float | None:
        """As `detectable`, where a change must also be estimated as more than `threshold`."""
        if not self.error:
            return None
        sure = self.beyond / self.error
        # In units of the true error: ours varies by 1 / sqrt(2 n), that of the repetition as well.
        power = _student(_AIM, self.queries) * math.sqrt(1 + sure * sure / self.queries)
        change = threshold
        for _ in range(_STEPS):
            error = math.sqrt(self.error**2 + change * self.size / self.queries)
            change = max(threshold, sure * error) + power * error
        return change


def paired(
    baseline: Values,
    candidate: Values,
    *,
    confidence: float = 0.95,
    surely: float | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> Paired:
    """The mean of candidate less that of baseline.

    Args:
        baseline: (n,) float64, one value of each query, n >= 2.
        candidate: (n,) float64, of the same queries in the same order.
        confidence: of the two-sided interval.
        surely: two-sided confidence of what is significant; as `confidence` by default.
        resamples: drawn samples of n queries.
        seed: of what is drawn.

    Raises:
        ContractError: shapes that differ, fewer than 2 queries, or values that are not finite.
    """
    _check(baseline, candidate)
    differences = candidate - baseline
    change = math.fsum(differences) / len(differences)
    resampled = _means(differences[:, None], resamples, seed)[:, 0]
    reach, beyond = _reaches(np.abs(resampled - change), len(differences), confidence, surely)
    return Paired(
        queries=len(differences),
        change=change,
        lower=change - reach,
        upper=change + reach,
        error=float(differences.std(ddof=1)) / math.sqrt(len(differences)),
        beyond=beyond,
        confidence=confidence,
        wilcoxon_p=_wilcoxon(differences),
        size=_typical(differences),
    )


def paired_relative(
    baseline: Values,
    candidate: Values,
    *,
    confidence: float = 0.95,
    surely: float | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> Paired:
    """The mean of candidate by that of baseline, less 1. Arguments as of `paired`.

    Raises:
        ContractError: as `paired`, and where the mean of baseline is not positive.
    """
    _check(baseline, candidate)
    if not baseline.mean() > 0:
        raise ContractError("no relative change of a baseline that is 0")
    change = float(candidate.mean() / baseline.mean()) - 1
    means = _means(np.stack([baseline, candidate], axis=1), resamples, seed)
    there = means[means[:, 0] > 0]
    resampled = there[:, 1] / there[:, 0] - 1
    reach, beyond = _reaches(np.abs(resampled - change), len(baseline), confidence, surely)
    return Paired(
        queries=len(baseline),
        change=change,
        lower=change - reach,
        upper=change + reach,
        error=float(resampled.std(ddof=1)),
        beyond=beyond,
        confidence=confidence,
        wilcoxon_p=_wilcoxon(candidate - baseline),
    )


def paired_quantile(
    baseline: Values,
    candidate: Values,
    *,
    quantile: float = 0.95,
    confidence: float = 0.95,
    surely: float | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> Paired:
    """A quantile of candidate's latencies by that of baseline's, less 1.

    Whole queries are drawn, with all their rounds, and the same ones of both sides. The interval is
    symmetric in the logarithm, so that twice and half as slow are alike. `error` and `beyond` are
    those of the logarithm.

    Args:
        baseline: (n, rounds) float64, positive; NaN where a round is missing.
        candidate: of the same shape, NaN in the same places.
        quantile: between 0 and 1.
        confidence: of the two-sided interval.
        surely: two-sided confidence of what is significant; as `confidence` by default.
        resamples: drawn samples of n queries.
        seed: of what is drawn.

    Raises:
        ContractError: shapes or gaps that differ, fewer than 2 queries, latencies not positive.
    """
    there = ~np.isnan(baseline)
    if baseline.ndim != 2 or not np.array_equal(there, ~np.isnan(candidate)):
        raise ContractError("latencies are (queries, rounds), with the same gaps on both sides")
    _check(baseline[there], candidate[there])
    answered = there.any(axis=1)
    queries = int(answered.sum())
    if queries < LEAST or min(baseline[there].min(), candidate[there].min()) <= 0:
        raise ContractError(f"latencies of {LEAST} queries or more, all above 0, are needed")
    before, after = (np.quantile(side[there], quantile) for side in (baseline, candidate))
    sides = [_Latencies.of(side[answered]) for side in (baseline, candidate)]
    logs = [
        sides[1].log_quantiles(quantile, counts) - sides[0].log_quantiles(quantile, counts)
        for counts in _counts(queries, baseline.shape[1], resamples, seed)
    ]
    middle, resampled = logs[0][0], np.concatenate(logs[1:])
    reach, beyond = _reaches(np.abs(resampled - middle), queries, confidence, surely)
    ratio = float(after / before)
    return Paired(
        queries=queries,
        change=ratio - 1,
        lower=ratio * math.exp(-reach) - 1,
        upper=ratio * math.exp(reach) - 1,
        error=float(resampled.std(ddof=1)),
        beyond=beyond,
        confidence=confidence,
    )


def _check(baseline: Values, candidate: Values) -> None:
    if baseline.shape != candidate.shape or baseline.ndim != 1:
        raise ContractError(f"values of {baseline.shape} against {candidate.shape}")
    if len(baseline) < LEAST:
        raise ContractError(f"{len(baseline)} queries: a spread needs {LEAST}")
    if not (np.isfinite(baseline).all() and np.isfinite(candidate).all()):
        raise ContractError("values that are not finite")


def _means(rows: Values, resamples: int, seed: int) -> Values:
    """(resamples, columns): column means of rows (n, columns), n of them drawn with repeats."""
    rng = np.random.default_rng(seed)
    at_once = max(1, _CELLS // rows.size)
    parts = []
    for begun in range(0, resamples, at_once):
        shape = (min(at_once, resamples - begun), len(rows))
        drawn = rng.integers(0, len(rows), shape, dtype=np.int32)
        parts.append(
            np.stack([column.take(drawn).mean(axis=1) for column in rows.T.copy()], axis=1)
        )
    return np.concatenate(parts)


def _counts(
    queries: int, rounds: int, resamples: int, seed: int
) -> Iterator[npt.NDArray[np.float32]]:
    """(some, queries): how often each query is drawn; first (1, queries), the sample itself."""
    yield np.ones((1, queries), np.float32)
    rng = np.random.default_rng(seed)
    at_once = max(1, _CELLS // (queries * rounds))
    for begun in range(0, resamples, at_once):
        rows = min(at_once, resamples - begun)
        drawn = rng.integers(0, queries, (rows, queries))
        drawn += np.arange(rows)[:, None] * queries
        counts = np.bincount(drawn.ravel(), minlength=rows * queries)
        yield counts.reshape(rows, queries).astype(np.float32)


@dataclass(frozen=True)
class _Latencies:
    """Logarithms of latencies from the least on, and the query of each."""

    logs: Values
    owners: npt.NDArray[np.int64]

    @classmethod
    def of(cls, latencies: Values) -> Self:
        """Of (queries, rounds), NaN where there is none."""
        query, round_ = np.nonzero(~np.isnan(latencies))
        logs = np.log(latencies[query, round_])
        order = np.argsort(logs, kind="stable")
        return cls(logs[order], query[order])

    def log_quantiles(self, quantile: float, counts: npt.NDArray[np.float32]) -> Values:
        """(rows of counts,): the quantile when each latency is there as often as its query is
        counted: the least that so many are not above.
        """
        reached = counts.take(self.owners, axis=1).cumsum(axis=1)
        found: Values = self.logs[(reached >= quantile * reached[:, -1:]).argmax(axis=1)]
        return found


def reach_of(distances: Values, queries: int, confidence: float) -> float:
    """How far `confidence` of the resampled estimates lie from the estimate, widened."""
    from scipy.special import ndtr

    t = _student(1 - (1 - confidence) / 2, queries)
    outside = 2 * float(ndtr(-math.sqrt(queries / (queries - 1)) * t))
    return float(np.quantile(distances, 1 - outside))


def _reaches(
    distances: Values, queries: int, confidence: float, surely: float | None
) -> tuple[float, float]:
    """Half the interval, and half of that of what is significant."""
    reach = reach_of(distances, queries, confidence)
    return reach, reach if surely is None else reach_of(distances, queries, surely)


def _student(probability: float, queries: int) -> float:
    """The quantile of Student's t of queries - 1 degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(queries - 1, probability))


def _wilcoxon(differences: Values) -> float:
    """Two-sided, pairs that are alike left out (Wilcoxon 1945)."""
    from scipy.stats import wilcoxon

    there = differences[differences != 0]
    return float(wilcoxon(there).pvalue) if len(there) else 1.0


def _typical(differences: Values) -> float:
    """The size of a change, each weighted by itself; 0 where there is none."""
    whole = float(np.abs(differences).sum())
    return float((differences * differences).sum()) / whole if whole else 0.0
