"""The final order of a pool: reranked candidates first, the others after them as they were fused.

Pure. Every place has a score and the summands it is made of; scores never rise down the list.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ecm.contracts.search import Contribution
from ecm.search.pool import Pool
from ecm.search.rerank import Reranked

BEYOND = "beyond.rerank"
"""What a candidate that was not reranked is set back by, to stay behind those that were."""


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
        for place, row in enumerate(reranked.contributions):
            parts = [
                Contribution(feature=name, value=float(value), raw=float(raw))
                for name, value, raw in zip(reranked.names, row, reranked.raw[place], strict=True)
            ]
            first.append(_ranked(pool, place, parts))
        first.sort(key=lambda one: (-one.score, one.asset_id))
    rest: list[Ranked] = []
    set_back = 0.0
    for place in range(len(first), len(pool.fused)):
        parts = [
            Contribution(feature=f"rrf.{axis.value}", value=value)
            for axis, value in pool.fused[place].summands.items()
        ]
        if first:
            if not rest:
                set_back = min(0.0, first[-1].score - math.fsum(part.value for part in parts))
            parts.append(Contribution(feature=BEYOND, value=set_back))
        rest.append(_ranked(pool, place, parts))
    return (*first, *rest)


def _ranked(pool: Pool, place: int, parts: Iterable[Contribution]) -> Ranked:
    order = sorted(
        (part for part in parts if part.value), key=lambda part: (-abs(part.value), part.feature)
    )
    score = math.fsum(part.value for part in order)
    return Ranked(pool.fused[place].asset_id, place, score, tuple(order))
