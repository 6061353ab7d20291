"""How well each candidate answers, and below what a query's answers are none.

Pure arithmetic on a pool. Knows no index and no weights of the ranking.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ecm.search.pool import Pool


@dataclass(frozen=True)
class Judged:
    """Relevance float64 (n,) in [0, 1] by place in the pool, and the least that is shown."""

    relevance: npt.NDArray[np.float64]
    threshold: float | None

    def passes(self, place: int) -> bool:
        return self.threshold is None or bool(self.relevance[place] >= self.threshold)


def judged(pool: Pool, min_relevance: Literal["auto"] | float | None) -> Judged:
    """The relevance of every candidate: its share of the best fused score."""
    scores = np.array([one.score for one in pool.fused])
    top = scores.max(initial=0.0)
    relevance = scores / top if top > 0 else np.zeros(len(scores))
    threshold = 0.0 if min_relevance == "auto" else min_relevance
    return Judged(relevance, threshold)
