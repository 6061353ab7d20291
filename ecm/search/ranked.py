"""The final order of a pool: reranked candidates first, the others after them as they were fused.

Pure. Every place has a score and the summands it is made of; scores never rise down the list.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecm.contracts.search import Contribution
from ecm.search.pool import Pool
from ecm.search.rerank import Reranked

BEYOND = "beyond.rerank"
"""What a candidate that was not reranked is set back by: it stays behind those that were."""
UNWANTED = "penalty.unwanted"


@dataclass(frozen=True)
class Ranked:
    """A candidate in its final place; `place` is the one it has in the pool, from 0."""

    asset_id: str
    place: int
    score: float
    parts: tuple[Contribution, ...]


def in_order(pool: Pool, reranked: Reranked | None) -> tuple[Ranked, ...]:
    """All candidates, best first, ties by asset id."""
    first: list[Ranked] = []
    if reranked is not None:
        names, values, raw = reranked.names, reranked.contributions, reranked.raw
        scored = [
            (-math.fsum(row), pool.fused[place].asset_id, place)
            for place, row in enumerate(values.tolist())
        ]
        scored.sort()
        first = [_reranked(pool, place, names, values, raw) for _, _, place in scored]
    rest: list[Ranked] = []
    set_back = 0.0
    for place in range(len(first), len(pool.fused)):
        parts = _fused_parts(pool, place)
        if first:
            if not rest:
                set_back = min(0.0, first[-1].score - math.fsum(part.value for part in parts))
            parts.append(Contribution(feature=BEYOND, value=set_back))
        rest.append(_ranked(pool, place, parts))
    return (*first, *rest)


def scores_in(pool: Pool, reranked: Reranked | None) -> npt.NDArray[np.float64]:
    """Fused scores less what is lost for what is not wanted, float64 (n,); of those reranked the
    sums of their contributions.
    """
    scores = np.array([one.score for one in pool.fused]) - pool.demotions
    if reranked is not None:
        count = len(reranked.contributions)
        scores[:count] = [math.fsum(row) for row in reranked.contributions.tolist()]
    return scores


def order_of(scores: Sequence[float], asset_ids: Sequence[str]) -> list[int]:
    """Places best first, ties by asset id."""
    return sorted(range(len(scores)), key=lambda place: (-scores[place], asset_ids[place]))


def _fused_parts(pool: Pool, place: int) -> list[Contribution]:
    parts = [
        Contribution(feature=f"{pool.fusion}.{axis.value}", value=value)
        for axis, value in pool.fused[place].summands.items()
    ]
    if pool.demotions[place]:
        lost, raw = -float(pool.demotions[place]), float(pool.strengths[place])
        parts.append(Contribution(feature=UNWANTED, value=lost, raw=raw))
    return parts


def _reranked(
    pool: Pool,
    place: int,
    names: tuple[str, ...],
    values: npt.NDArray[np.float64],
    raw: npt.NDArray[np.float64],
) -> Ranked:
    parts = [
        Contribution.model_construct(feature=name, value=value, raw=before)
        for name, value, before in zip(
            names, values[place].tolist(), raw[place].tolist(), strict=True
        )
        if value
    ]
    return _ranked(pool, place, parts)


def _ranked(pool: Pool, place: int, parts: Iterable[Contribution]) -> Ranked:
    order = sorted(
        (part for part in parts if part.value), key=lambda part: (-abs(part.value), part.feature)
    )
    score = math.fsum(part.value for part in order)
    return Ranked(pool.fused[place].asset_id, place, score, tuple(order))
