"""Weighted reciprocal rank fusion. Knows rankings and weights; no axis, store, model or clock.

Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank
Learning Methods", SIGIR 2009: score(d) = Σ over rankings of weight / (k + rank), ranks from 1.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

Source = TypeVar("Source", bound=Hashable)


@dataclass(frozen=True)
class Fused(Generic[Source]):
    """One candidate after fusion: its summand per ranking that holds it, and their `math.fsum`."""

    asset_id: str
    score: float
    summands: Mapping[Source, float]


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
    summands: dict[str, dict[Source, float]] = {}
    for source, ranking in rankings.items():
        weight = weights[source]
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"weight of {source} must be finite and not negative: {weight}")
        if weight == 0:
            continue
        for rank, asset_id in enumerate(ranking, start=1):
            own = summands.setdefault(asset_id, {})
            if source in own:
                raise ValueError(f"{asset_id} twice in the ranking of {source}")
            own[source] = reciprocal_rank(rank, weight, k)
    merged = [Fused(asset_id, math.fsum(own.values()), own) for asset_id, own in summands.items()]
    return tuple(sorted(merged, key=lambda one: (-one.score, one.asset_id)))
