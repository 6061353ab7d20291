"""Fusion of rankings into one, by ranks (RRF) or by scores (DBSF).

Knows rankings and weights; no axis, store, model or clock.

RRF: Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank
Learning Methods", SIGIR 2009: score(d) = Σ over rankings of weight / (k + rank), ranks from 1.
DBSF, as Qdrant defines it: scores of a ranking between its mean less and plus three standard
deviations become 0 to 1, and score(d) = Σ over rankings of weight * normalised score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt

Source = TypeVar("Source", bound=Hashable)
Fusion = Literal["rrf", "dbsf"]
Scored = Sequence[tuple[str, float]]


@dataclass(frozen=True)
class Fused(Generic[Source]):
    """One candidate after fusion: its summand per ranking that holds it, and their `math.fsum`."""

    asset_id: str
    score: float
    summands: Mapping[Source, float]


def fused(
    rankings: Mapping[Source, Scored], weights: Mapping[Source, float], method: Fusion, k: int
) -> tuple[Fused[Source], ...]:
    """Merge rankings of (asset id, score), best first, by the method of a ranking profile.

    Raises ValueError as `weighted_rrf` and `weighted_dbsf` do.
    """
    if method == "dbsf":
        return weighted_dbsf(rankings, weights)
    ids = {source: [asset_id for asset_id, _ in scored] for source, scored in rankings.items()}
    return weighted_rrf(ids, weights, k=k)


def most(weights: Iterable[float], method: Fusion, k: int) -> float:
    """The highest score that fusion can give: first, or far above the others, in every ranking."""
    total = math.fsum(weights)
    return total if method == "dbsf" else total / (k + 1)


def reciprocal_rank(rank: int, weight: float, k: int) -> float:
    """One summand, weight / (k + rank). Raises ValueError for a rank below 1.

    >>> reciprocal_rank(1, 2.0, 60) == 2 / 61
    True
    """
    if rank < 1:
        raise ValueError(f"ranks start at 1, not {rank}")
    return weight / (k + rank)


def weighted_rrf(
    rankings: Mapping[Source, Iterable[str]], weights: Mapping[Source, float], *, k: int = 60
) -> tuple[Fused[Source], ...]:
    """Merge rankings (best first, each asset once) into one, best first; ties by asset id.

    `math.fsum` makes the score independent of the order of the rankings, so that candidates with
    the same ranks tie exactly. A weight of zero keeps a ranking's candidates out of the merge.

    >>> merged = weighted_rrf({"vv": ["a", "b"], "fts": ["b"]}, {"vv": 1.0, "fts": 1.0})
    >>> [(one.asset_id, round(one.score, 6)) for one in merged]
    [('b', 0.032522), ('a', 0.016393)]

    Raises:
        ValueError: a negative or non-finite weight, `k` below 1, or an asset twice in one ranking.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")

    def summands(ranking: Iterable[str], weight: float) -> Iterable[tuple[str, float]]:
        return (
            (asset_id, reciprocal_rank(rank, weight, k))
            for rank, asset_id in enumerate(ranking, start=1)
        )

    return _merged(rankings, weights, summands)


def weighted_dbsf(
    rankings: Mapping[Source, Scored], weights: Mapping[Source, float]
) -> tuple[Fused[Source], ...]:
    """Merge rankings of (asset id, score) by their scores, best first; ties by asset id.

    >>> merged = weighted_dbsf({"vv": [("a", 0.9), ("b", 0.1)], "fts": [("b", 7.0)]},
    ...                        {"vv": 1.0, "fts": 1.0})
    >>> [(one.asset_id, round(one.score, 4)) for one in merged]
    [('b', 0.8821), ('a', 0.6179)]

    Raises:
        ValueError: a negative or non-finite weight or score, or an asset twice in one ranking.
    """

    def summands(ranking: Scored, weight: float) -> Iterable[tuple[str, float]]:
        shares = distribution_shares(np.array([score for _, score in ranking], dtype=np.float64))
        return (
            (asset_id, weight * share)
            for (asset_id, _), share in zip(ranking, shares.tolist(), strict=True)
        )

    return _merged(rankings, weights, summands)


def distribution_shares(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Scores, float64 (n,), as shares of three standard deviations around their mean: in [0, 1].

    (s - (m - 3 sd)) / (6 sd), with the standard deviation of a sample; scores that are all the
    same, or a single one, are 0.5. Raises ValueError for scores that are not finite.

    >>> distribution_shares(np.array([2.0, 2.0])).tolist()
    [0.5, 0.5]
    """
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")
    half = np.full(len(scores), 0.5)
    if len(scores) < 2 or scores.max() == scores.min():
        return half
    # In units of their range: neither very large nor very small scores leave what floats can hold.
    low = float(scores.min())
    relative = scores / 2 - low / 2
    top = float(relative.max())
    if top == 0:
        return half
    relative /= top
    deviation = float(relative.std(ddof=1))
    shares: npt.NDArray[np.float64] = 0.5 + (relative - relative.mean()) / (6.0 * deviation)
    return shares.clip(0.0, 1.0)


def _merged(
    rankings: Mapping[Source, Sequence[object] | Iterable[object]],
    weights: Mapping[Source, float],
    summands_of: Callable[..., Iterable[tuple[str, float]]],
) -> tuple[Fused[Source], ...]:
    summands: dict[str, dict[Source, float]] = {}
    for source, ranking in rankings.items():
        weight = weights[source]
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"weight of {source} must be finite and not negative: {weight}")
        if weight == 0:
            continue
        for asset_id, summand in summands_of(ranking, weight):
            own = summands.setdefault(asset_id, {})
            if source in own:
                raise ValueError(f"{asset_id} twice in the ranking of {source}")
            own[source] = summand
    merged = [Fused(asset_id, math.fsum(own.values()), own) for asset_id, own in summands.items()]
    return tuple(sorted(merged, key=lambda one: (-one.score, one.asset_id)))
