"""The final order of a pool: reranked candidates first, the others after them as they were fused.

Pure. Every place has a score and the summands it is made of; scores never rise down the list.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ecm.contracts.search import Contribution
from ecm.search.pool import Pool
from ecm.search.rerank import Reranked

BEYOND = "beyond.rerank"
"""What a candidate that was not reranked is set back by: it stays behind those that were."""
ROUNDING = 1e-12
"""By so much the first that was not reranked stays below the last that was."""
UNWANTED = "penalty.unwanted"


@dataclass(frozen=True, eq=False, repr=False)
class Origin:
    """What places in an order come from; `set_back` is what those beyond the depth lose."""

    pool: Pool
    reranked: Reranked | None
    set_back: float

    def parts(self, place: int) -> tuple[Contribution, ...]:
        """The summands of a score, those that count most first."""
        reranked = self.reranked
        depth = len(reranked.contributions) if reranked is not None else 0
        if reranked is not None and place < depth:
            values = reranked.contributions[place].tolist()
            raw = reranked.raw[place].tolist()
            named: list[tuple[str, float, float | None]]
            named = list(zip(reranked.names, values, raw, strict=True))
        else:
            named = self._fused(place, depth)
        parts = [
            Contribution(feature=feature, value=value, raw=before)
            for feature, value, before in named
            if value
        ]
        parts.sort(key=lambda part: (-abs(part.value), part.feature))
        return tuple(parts)

    def _fused(self, place: int, depth: int) -> list[tuple[str, float, float | None]]:
        pool = self.pool
        lost, strength = float(pool.demotions[place]), float(pool.strengths[place])
        return [
            *((f"{pool.fusion}.{a.value}", v, None) for a, v in pool.fused[place].summands.items()),
            (UNWANTED, -lost, strength),
            (BEYOND, self.set_back if depth else 0.0, None),
        ]


@dataclass(frozen=True)
class Ranked:
    """A candidate in its final place; `place` is the one it has in the pool, from 0.

    Its summands are put together when they are asked for: few of all candidates are shown.
    """

    asset_id: str
    place: int
    score: float
    origin: Origin | None = field(default=None, repr=False, compare=False)

    @property
    def parts(self) -> tuple[Contribution, ...]:
        """Summands of the score, which is their `math.fsum`; none where nothing was asked for."""
        return self.origin.parts(self.place) if self.origin is not None else ()


def in_order(pool: Pool, reranked: Reranked | None) -> tuple[Ranked, ...]:
    """All candidates, best first, ties by asset id."""
    scores = scores_in(pool, reranked)
    ids, count = pool.asset_ids, len(reranked.contributions) if reranked is not None else 0
    first = sorted(range(count), key=lambda place: (-scores[place], ids[place]))
    set_back = 0.0
    if first and count < len(ids):
        set_back = min(0.0, scores[first[-1]] - scores[count] - ROUNDING)
    origin = Origin(pool, reranked, set_back)
    return tuple(
        Ranked(ids[place], place, _summed(origin, scores, place, count), origin)
        for place in (*first, *range(count, len(ids)))
    )


def scores_in(pool: Pool, reranked: Reranked | None) -> list[float]:
    """Fused scores less what is lost for what is not wanted; of those reranked the sums of their
    contributions.
    """
    lost = pool.demotions.tolist()
    scores = [
        math.fsum((*one.summands.values(), -less))
        for one, less in zip(pool.fused, lost, strict=True)
    ]
    if reranked is not None:
        count = len(reranked.contributions)
        scores[:count] = [math.fsum(row) for row in reranked.contributions.tolist()]
    return scores


def _summed(origin: Origin, scores: list[float], place: int, depth: int) -> float:
    """The score of a place; beyond the depth it is summed again with what it is set back by."""
    if place < depth or not depth:
        return scores[place]
    own = origin.pool.fused[place].summands.values()
    return math.fsum((*own, -float(origin.pool.demotions[place]), origin.set_back))
