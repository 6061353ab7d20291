"""How much candidates are what a query does not want, and the pool in the order that follows.

A text that says it counts fully. A cosine with it counts only where it stands out among the best
candidates: those of texts with images and of images with images live on different scales, and what
is wanted may be like what is not, as all dogs are like terriers. Embeddings themselves hardly know
negation (NegBench, arXiv 2501.09425). Knows no weights.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final

import numpy as np

from ecm.search.pool import Pool, Scores

OUTLIER: Final = 1.0
"""Standard deviations above the mean of the best candidates, from where on a similarity counts."""
BEST: Final = 50
"""Candidates that others are compared with."""
SURELY: Final = 3.0
"""Where it counts most."""
BY_LIKENESS: Final = 0.6
"""What likeness counts at most; words that say it count 1."""
_FEW: Final = 8
"""Among fewer candidates nothing stands out."""
_FLAT: Final = 1e-6


def strengths_of(pool: Pool, saying: Collection[str]) -> Scores:
    """How much each candidate is unwanted: float64 (n,) in [0, 1].

    `saying` are assets whose texts say what is not wanted.
    """
    strengths = np.zeros(len(pool.fused))
    for scores in pool.unwanted.values():
        known = scores[:BEST][~np.isnan(scores[:BEST])]
        deviation = float(known.std()) if len(known) >= _FEW else 0.0
        if deviation > _FLAT:
            heights = np.nan_to_num((scores - known.mean()) / deviation)
            share = np.clip((heights - OUTLIER) / (SURELY - OUTLIER), 0.0, 1.0)
            strengths = np.maximum(strengths, BY_LIKENESS * share)
    said = np.array([one.asset_id in saying for one in pool.fused], np.bool_)
    return np.where(said, 1.0, strengths)


def demoted(pool: Pool, strengths: Scores) -> Pool:
    """The pool in order of the fused score less `strengths` times the best fused score.

    What is fully unwanted comes after all that is not unwanted at all.
    """
    if not strengths.any():
        return pool
    best = max((one.score for one in pool.fused), default=0.0)
    held = replace(pool, strengths=strengths, demotions=strengths * best)
    left = [one.score - lost for one, lost in zip(held.fused, held.demotions, strict=True)]
    order = sorted(range(len(left)), key=lambda place: (-left[place], held.fused[place].asset_id))
    return held.reordered(order)
