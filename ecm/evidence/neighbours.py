"""Nearest neighbours of a few vectors among many that pass by, exactly. Knows no store.

Memory is that of the few and of one portion of the many.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from ecm.evidence.matrix import SCORE_DIGITS

_SPARE: Final = 32
"""Candidates looked at beyond those wanted, so that equal scores are cut by place."""

Places = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float32]


class Nearest:
    """The k best places by cosine for each of s unit vectors, which are no neighbours of their own.

    `places` (s,) tell the vectors (s, d) apart from those that pass by.
    """

    def __init__(self, places: Places, vectors: Matrix, k: int) -> None:
        self._own = places
        self._vectors = vectors
        self._k = k
        self._places: Places = np.full((len(places), 0), -1, dtype=np.int64)
        self._scores: npt.NDArray[np.float64] = np.zeros((len(places), 0))

    def add(self, places: Places, vectors: Matrix) -> None:
        """Let n unit vectors (n, d) at some places (n,) pass by; each place once in all."""
        scores = np.round((self._vectors @ vectors.T).astype(np.float64), SCORE_DIGITS)
        scores[self._own[:, None] == places[None, :]] = -np.inf
        candidates = np.hstack([self._scores, scores])
        names = np.hstack([self._places, np.broadcast_to(places, scores.shape)])
        keep = min(self._k + _SPARE, candidates.shape[1])
        if candidates.shape[1] > keep:
            best = np.argpartition(-candidates, keep - 1, axis=1)[:, :keep]
            candidates = np.take_along_axis(candidates, best, axis=1)
            names = np.take_along_axis(names, best, axis=1)
        self._scores, self._places = candidates, names

    def result(self) -> list[list[int]]:
        """Per vector its neighbours' places, best first, ties by place; fewer than k if so few."""
        found = []
        for scores, names in zip(self._scores, self._places, strict=True):
            order = np.lexsort((names, -scores))
            order = order[np.isfinite(scores[order])]
            found.append(names[order][: self._k].tolist())
        return found
