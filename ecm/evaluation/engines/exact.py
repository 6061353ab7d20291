"""Exact hybrid search in memory: BM25 of words, cosines of vectors, reciprocal rank fusion.

What a recorded contract answers from, so that its figures mean something: no index, no
approximation, the formulas as they are published. Knows numpy; knows no product.

    BM25   Robertson and Zaragoza (2009), k1 = 1.2, b = 0.75,
           idf = ln(1 + (N - n + 0.5) / (n + 0.5))
    RRF    Cormack, Clarke and Büttcher (2009): sum of 1 / (60 + rank), ranks from 1
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

import numpy as np

from ecm.evaluation.engines.vectors import Corpus, Vector, VectorField

K1: Final = 1.2
B: Final = 0.75
RRF_K: Final = 60
_WORD: Final = re.compile(r"\w+")

Ranking = list[tuple[int, float]]
"""Places of assets with their scores, best first; ties in order of place."""


class ExactIndex:
    """Words and vectors of a corpus. Immutable and thread-safe."""

    def __init__(self, corpus: Corpus) -> None:
        self.ids = corpus.ids
        self.columns = corpus.columns
        postings: dict[str, list[tuple[int, int]]] = defaultdict(list)
        lengths = np.zeros(len(corpus.ids))
        for place, text in enumerate(corpus.texts):
            counts = Counter(words_of(text))
            lengths[place] = counts.total()
            for word, count in counts.items():
                postings[word].append((place, count))
        mean = float(lengths.mean()) or 1.0
        self._norms = K1 * (1 - B + B * lengths / mean)
        self._postings = {
            word: (np.array([p for p, _ in rows]), np.array([c for _, c in rows], dtype=float))
            for word, rows in postings.items()
        }

    def by_words(self, text: str, limit: int) -> Ranking:
        """Assets with any of the words, by BM25."""
        scores = np.zeros(len(self.ids))
        for word in dict.fromkeys(words_of(text)):
            if word in self._postings:
                places, counts = self._postings[word]
                idf = math.log(1 + (len(self.ids) - len(places) + 0.5) / (len(places) + 0.5))
                scores[places] += idf * counts * (K1 + 1) / (counts + self._norms[places])
        return _best(np.flatnonzero(scores > 0), scores[scores > 0], limit)

    def by_vector(self, field: VectorField, query: Vector, limit: int) -> Ranking:
        """Assets that have a vector, by cosine."""
        column = self.columns[field]
        cosines = (column.vectors @ query).astype(np.float64).round(6)
        return _best(column.rows, cosines, limit)


def words_of(text: str) -> list[str]:
    """Lower-case words, as they come.

    >>> words_of("A dog's life: 2 Dogs!")
    ['a', 'dog', 's', 'life', '2', 'dogs']
    """
    return _WORD.findall(text.lower())


def fused(rankings: Sequence[Ranking]) -> Ranking:
    """One ranking of several, by the sum of 1 / (60 + rank).

    >>> [(place, round(score, 5)) for place, score in fused([[(7, 3.0), (8, 2.0)], [(8, 0.9)]])]
    [(8, 0.03252), (7, 0.01639)]
    """
    scores: dict[int, list[float]] = defaultdict(list)
    for ranking in rankings:
        for rank, (place, _) in enumerate(ranking, start=1):
            scores[place].append(1.0 / (RRF_K + rank))
    summed = [(place, math.fsum(parts)) for place, parts in scores.items()]
    return sorted(summed, key=lambda pair: (-pair[1], pair[0]))


def _best(places: np.ndarray, scores: np.ndarray, limit: int) -> Ranking:
    order = np.lexsort((places, -scores))[:limit]
    return [(int(places[one]), float(scores[one])) for one in order]
