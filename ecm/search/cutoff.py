"""How well each candidate answers, and below what a query's answers are none.

Pure arithmetic on a pool and its signals. Knows no index and no weights of the ranking.

A flat limit on cosines does not work: good ones differ from query to query. Compared is instead how
far scores stand above what the tenant's assets score at random (standard deviations), less what the
best of so many random scores would (sqrt(2 ln n)):

    evidence  = 2 * mean over vector axes of (best height - expected height)
                + 2 if words were found + 2 * best share of the query that tags or captions say
                + 2 * share of the first candidates that two vector axes agree on
                + 3 * best fit to a layout that words describe
                + 3 where an image is shown: unlike words, it is never without meaning
    answered  = 1 / (1 + exp((gate - evidence) / spread)), of the query
    own share = (heights, + tag overlap, + fit) of the candidate, as a share of the best one's
    relevance = answered * own share

`auto` asks for 0.5 where a query is not answered (no candidate has it), else for the best
relevance times `share` times how surely tags say what was asked, at least VAGUE of it; what an
image shows is sure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from ecm.contracts.search import Axis
from ecm.search.pool import Pool, Scores
from ecm.search.signals import VECTOR_AXES, Signals
from ecm.search.weights import Cutoff

ANSWERED: Final = 0.5
VAGUE: Final = 0.25
AGREEING: Final = 20
"""First candidates of two axes that are compared."""
_PER_AXIS, _FOUND, _COVERED, _AGREED, _FITTING, _SHOWN = 2.0, 2.0, 2.0, 2.0, 3.0, 3.0
_MOST_EXPONENT: Final = 500.0


@dataclass(frozen=True, eq=False)
class Judged:
    """Relevance float64 (n,) in [0, 1] by place in the pool, and the least that is shown."""

    relevance: npt.NDArray[np.float64]
    threshold: float | None

    def passes(self, place: int) -> bool:
        return self.threshold is None or bool(self.relevance[place] >= self.threshold)


def judged(
    pool: Pool, signals: Signals, min_relevance: Literal["auto"] | float | None, cutoff: Cutoff
) -> Judged:
    """The relevance of every candidate, and the threshold that a request asks for."""
    if not pool.fused:
        return Judged(np.zeros(0), None if min_relevance is None else ANSWERED)
    heights = {
        axis: signals.heights(axis, pool.scores[axis])
        for axis in VECTOR_AXES
        if axis in pool.scores and not (axis is Axis.X and signals.by_layout)
    }
    answered = _answered(_evidence(pool, signals, heights), cutoff)
    relevance = answered * _own_share(pool, signals, heights)
    threshold = min_relevance
    if threshold == "auto":
        least = 1.0 if signals.by_example else VAGUE
        surely = max(float(signals.spoken.overlap.max(initial=0.0)), least)
        kept = float(relevance.max()) * cutoff.share * surely
        threshold = kept if answered >= ANSWERED else ANSWERED
    return Judged(relevance, threshold)


def _answered(evidence: float, cutoff: Cutoff) -> float:
    exponent = (cutoff.gate - evidence) / cutoff.spread
    return float(1.0 / (1.0 + np.exp(np.clip(exponent, -_MOST_EXPONENT, _MOST_EXPONENT))))


def _evidence(pool: Pool, signals: Signals, heights: dict[Axis, Scores]) -> float:
    above = [
        float(own.max()) - signals.backgrounds[axis].expected
        for axis, own in heights.items()
        if axis in signals.backgrounds
    ]
    evidence = _PER_AXIS * float(np.mean(above)) if above else 0.0
    evidence += _SHOWN if signals.by_example else 0.0
    if Axis.FTS in pool.scores and np.nan_to_num(pool.scores[Axis.FTS]).max() > 0:
        evidence += _FOUND
    evidence += _COVERED * float(signals.spoken.covered.max(initial=0.0))
    evidence += _AGREED * _agreement(pool, list(heights))
    fit = _fit(pool, signals)
    return evidence + _FITTING * float(fit.max()) if fit is not None else evidence


def _agreement(pool: Pool, axes: list[Axis]) -> float:
    """The largest share of first candidates that two of some axes have in common."""
    first = [
        {asset_id for asset_id, rank in pool.ranks[axis].items() if rank <= AGREEING}
        for axis in axes
    ]
    shared = [
        len(one & other) / AGREEING
        for place, one in enumerate(first)
        for other in first[place + 1 :]
    ]
    return max(shared, default=0.0)


def _own_share(pool: Pool, signals: Signals, heights: dict[Axis, Scores]) -> Scores:
    total = np.zeros(len(pool.fused))
    for own in heights.values():
        total = total + np.maximum(own, 0.0)
    best = float(total.max())
    said = total / best if best > 0 else total
    said = said + signals.spoken.overlap
    fit = _fit(pool, signals)
    if fit is not None:
        said = said + fit
    if Axis.FTS in pool.scores and not heights:
        words = np.nan_to_num(pool.scores[Axis.FTS])
        said = said + (words / words.max() if words.max() > 0 else 0.0)
    top = float(said.max())
    shares = said / top if top > 0 else np.zeros(len(said))
    return shares * (1.0 - pool.strengths)


def _fit(pool: Pool, signals: Signals) -> Scores | None:
    if Axis.X in pool.scores and signals.by_layout:
        return np.nan_to_num(pool.scores[Axis.X]).clip(0.0, 1.0)
    return None
