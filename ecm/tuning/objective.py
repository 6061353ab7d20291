"""nDCG@10 of weighted sums, and a smooth stand-in for it that has a gradient.

Pure arithmetic on examples. The stand-in is ApproxNDCG (Qin, Liu and Li, "A general approximation
framework for direct optimization of information retrieval measures", 2010): the rank of a relevant
candidate is 1 + Σ over the others of σ((their score - its score) / TEMPERATURE). Gains are linear.

Sums go through einsum, bincount and reduceat and through no BLAS, so that the number of threads
changes no bit of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from ecm.tuning.examples import Example, Floats

TEMPERATURE: Final = 0.06
"""Of scores that fusion raises to RAISED at most: the lead of a first over a second rank."""
FIRST: Final = 10
_LARGEST_EXPONENT: Final = 40.0


class Batch:
    """Examples stacked: q queries with n candidates in all.

    `answering` float64 (q, a), `mixture` (q, r), `told` (q, j) as in `Example`.
    """

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = tuple(examples)
        self.answering = np.stack([one.answering for one in examples])
        self.mixture = np.stack([one.mixture for one in examples])
        self.told = np.stack([one.told for one in examples])
        self._raised = np.concatenate([one.raised for one in examples])
        self._against = np.concatenate([one.against for one in examples])
        counts = np.array([len(one.gains) for one in examples])
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self._query = np.repeat(np.arange(len(examples)), counts)
        self._pairs(np.concatenate([one.gains for one in examples]))

    def _pairs(self, gains: Floats) -> None:
        """Every relevant candidate with every other one of its query."""
        ideal = np.array([one.ideal for one in self.examples])
        relevant = np.flatnonzero(gains > 0)
        of_query = self._query[relevant]
        starts, ends = self._starts[of_query], self._starts[of_query + 1]
        self._relevant = np.repeat(np.arange(len(relevant)), ends - starts)
        others = [np.arange(a, b) for a, b in zip(starts, ends, strict=True)]
        self._other = np.concatenate([np.zeros(0, np.intp), *others]).astype(np.intp)
        self._own = relevant[self._relevant]
        differs = self._other != self._own
        self._relevant, self._other = self._relevant[differs], self._other[differs]
        self._own = self._own[differs]
        self._share = gains[relevant] / ideal[of_query] / len(self.examples)

    def scores(self, weights: Floats) -> Floats:
        """Scores float64 (n,) by weights float64 (q, p), one row per query."""
        found: Floats = np.einsum("np,np->n", self._raised, weights[self._query]) - self._against
        return found

    def loss(self, weights: Floats) -> tuple[float, Floats]:
        """1 less the stand-in, a mean over queries; and its gradient by weights, (q, p)."""
        scores = self.scores(weights)
        ahead = (scores[self._other] - scores[self._own]) / TEMPERATURE
        before = 1.0 / (1.0 + np.exp(-np.clip(ahead, -_LARGEST_EXPONENT, _LARGEST_EXPONENT)))
        count = len(self._share)
        ranks = 1.0 + np.bincount(self._relevant, before, count)
        discount = np.log2(1.0 + ranks)
        value = float(np.sum(self._share / discount))
        by_rank = -self._share / (discount**2 * (1.0 + ranks) * math.log(2.0))
        flow = by_rank[self._relevant] * before * (1.0 - before) / TEMPERATURE
        total = len(scores)
        by_score = np.bincount(self._other, flow, total) - np.bincount(self._own, flow, total)
        gradient = np.add.reduceat(self._raised * by_score[:, None], self._starts[:-1], axis=0)
        return 1.0 - value, -gradient

    def ndcg(self, weights: Floats) -> Floats:
        """nDCG@10 of each query, float64 (q,), ties by asset id."""
        scores = self.scores(weights)
        bounds = zip(self._starts[:-1], self._starts[1:], self.examples, strict=True)
        return np.array([_ndcg(scores[a:b], one) for a, b, one in bounds])


def _ndcg(scores: Floats, example: Example) -> float:
    first = np.argsort(-scores, kind="stable")[:FIRST]
    return dcg(example.gains[first]) / example.ideal


def dcg(gains: npt.NDArray[np.float64]) -> float:
    """Discounted cumulated gain of gains float64 (n,) in order: Σ gain / log2(rank + 1).

    >>> round(dcg(np.array([2.0, 0.0, 1.0])), 4)
    2.5
    """
    return float(np.sum(gains / np.log2(np.arange(2, 2 + len(gains)))))
