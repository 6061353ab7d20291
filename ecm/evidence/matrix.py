"""Exact cosine search in memory over a tenant's vectors on one axis.

Knows arithmetic. Knows no Lance and no snapshot. Everything is first scored in float32, as fast as
memory is read; what may be among the best by the bound of its error is scored again in float64. So
a score does not depend on which other vectors were scored with it, nor on threads or blocks.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from ecm.evidence.ordered_ids import OrderedIds, Places

Vector = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]
Scored = list[tuple[str, float]]

SCORE_DIGITS: Final = 6
"""Scores are rounded to these, so that equal vectors tie whatever order BLAS sums in."""
_UNIT: Final = 2.0**-24
"""Relative error of one float32 operation."""
_BLOCK: Final = 1024
"""Rows gathered or widened at once."""
_GATHERED: Final = 3
"""Up to the third part of all, rows are gathered and scored; more of them with all others."""
_SHORTEST: Final = 1e-6
"""Length a vector around the mean is taken to have at least: nearer ones have no direction."""


class TenantMatrix:
    """All vectors of a tenant on one axis, in order of asset id. Immutable and thread-safe.

    `vectors` is float32 (n, d), each row L2-normalised; `mean` float32 (d,) is their mean (zeros if
    there are none).
    """

    def __init__(self, ids: OrderedIds, vectors: Vector, mean: Vector) -> None:
        self.ids = ids
        self.vectors = vectors
        self.mean = mean
        self._lengths: Scores | None = None
        self._lock = threading.Lock()

    @property
    def asset_ids(self) -> list[str]:
        return self.ids.asset_ids

    @property
    def nbytes(self) -> int:
        """Bytes held, with about 120 for each id and the lengths around the mean."""
        return int(self.vectors.nbytes + self.mean.nbytes) + self.ids.nbytes + 8 * len(self.ids)

    def vector(self, asset_id: str) -> Vector | None:
        """The vector of an asset, float32 (d,), or None."""
        place = self.ids.place(asset_id)
        if place < 0:
            return None
        row: Vector = self.vectors[place]
        return row

    def lengths(self) -> Scores:
        """Length of every vector minus the mean, float64 (n,), at least 1e-6."""
        with self._lock:
            if self._lengths is None:
                lengths = np.empty(len(self.vectors))
                for start in range(0, len(lengths), _BLOCK):
                    block = self.vectors[start : start + _BLOCK].astype(np.float64) - self.mean
                    lengths[start : start + _BLOCK] = np.sqrt(np.einsum("nd,nd->n", block, block))
                self._lengths = np.maximum(lengths, _SHORTEST)
            return self._lengths


class Similarity(Protocol):
    """How vectors of a matrix are scored against one query."""

    @property
    def matrix(self) -> TenantMatrix: ...

    def rough(self, places: Places | None) -> tuple[Scores, Scores]:
        """Scores at some places (None: all), and how far each is from the exact one at most."""
        ...

    def exact(self, places: Places) -> Scores:
        """Scores at some places, rounded to SCORE_DIGITS: float64 (k,)."""
        ...


@dataclass(frozen=True)
class Cosine:
    """v·q; `query` is float32 (d,) of length 1."""

    matrix: TenantMatrix
    query: Vector

    def rough(self, places: Places | None) -> tuple[Scores, Scores]:
        scores = _products(self.matrix.vectors, self.query, places)
        return scores, np.full(1, len(self.query) * _UNIT)

    def exact(self, places: Places) -> Scores:
        return _products64(self.matrix.vectors, self.query, places).round(SCORE_DIGITS)


@dataclass(frozen=True)
class CentredCosine:
    """q·(v - m) / |v - m| for the mean m of the matrix; `query` is float32 (d,) of length 1."""

    matrix: TenantMatrix
    query: Vector

    def rough(self, places: Places | None) -> tuple[Scores, Scores]:
        lengths = self.matrix.lengths()
        if places is not None:
            lengths = lengths[places]
        products = _products(self.matrix.vectors, self.query, places)
        return (products - self._shift()) / lengths, len(self.query) * _UNIT / lengths

    def exact(self, places: Places) -> Scores:
        products = _products64(self.matrix.vectors, self.query, places)
        scores: Scores = (products - self._shift()) / self.matrix.lengths()[places]
        return scores.round(SCORE_DIGITS)

    def _shift(self) -> float:
        return float(self.matrix.mean.astype(np.float64) @ self.query.astype(np.float64))


def best_of(similarity: Similarity, limit: int, places: Places | None = None) -> Scored:
    """The `limit` best (asset id, score), best first, ties by asset id, of some places or of all.

    The rows are those of a full float64 search: what float32 could have misplaced is scored again.
    """
    rough, error = similarity.rough(places)
    count = len(rough)
    candidates = np.arange(count, dtype=np.intp)
    if count > limit:
        surely = rough - error
        least = np.partition(surely, count - limit)[count - limit]
        candidates = np.flatnonzero(rough + error >= least - 10.0**-SCORE_DIGITS)
    if places is not None:
        candidates = places[candidates]
    return first_of(similarity.matrix.ids, candidates, similarity.exact(candidates), limit)


def first_of(ids: OrderedIds, places: Places, scores: Scores, limit: int) -> Scored:
    """The `limit` best (asset id, score) of k places, in order, with their scores (k,)."""
    if len(scores) > limit:
        least = np.partition(scores, len(scores) - limit)[len(scores) - limit]
        places, scores = places[scores >= least], scores[scores >= least]
    order = np.argsort(-scores, kind="stable")[:limit]
    return [(ids.asset_ids[places[one]], float(scores[one])) for one in order]


def scores_of(similarity: Similarity, asset_ids: Iterable[str]) -> dict[str, float]:
    """The scores of those of some assets that have a vector, as `best_of` gives them."""
    ids = similarity.matrix.ids
    places = ids.places(asset_ids)
    scores = similarity.exact(places)
    return {ids.asset_ids[p]: float(s) for p, s in zip(places, scores, strict=True)}


def assembled(ids: OrderedIds, parts: Iterable[tuple[list[str], Vector]], dim: int) -> TenantMatrix:
    """The matrix of (asset ids, vectors float32 (n, dim)) that come in any order.

    `ids` are all that may come, each once; those without a vector are left out. A vector is copied
    once, to where it belongs, while the next part is being read.
    """
    placed = np.empty((len(ids), dim), dtype=np.float32)
    there = np.zeros(len(ids), dtype=np.bool_)
    for names, vectors in parts:
        places = [ids.place(name) for name in names]
        placed[places] = vectors
        there[places] = True
    if not there.all():
        placed = placed[there]
        ids = OrderedIds(ids.asset_ids[place] for place in np.flatnonzero(there))
    mean = placed.mean(axis=0, dtype=np.float64) if len(ids) else np.zeros(dim)
    return TenantMatrix(ids, placed, mean.astype(np.float32))


def _products(vectors: Vector, query: Vector, places: Places | None) -> Scores:
    """v·q in float32 as float64 (n,) or (k,); few rows are gathered a block at a time.

    Row by row in this thread: memory is the bound, and threads of BLAS that several axes wait for
    at once made three searches of 50,000 take 2 to 4 times as long as one after the other.
    """
    if places is None or len(places) * _GATHERED > len(vectors):
        every: Scores = np.vecdot(vectors, query).astype(np.float64)
        return every if places is None else every[places]
    found = np.empty(len(places))
    for start in range(0, len(places), _BLOCK):
        chosen = places[start : start + _BLOCK]
        found[start : start + _BLOCK] = np.vecdot(vectors[chosen], query)
    return found


def _products64(vectors: Vector, query: Vector, places: Places) -> Scores:
    """v·q in float64 (k,); each row's alike whatever the others are."""
    wide = query.astype(np.float64)
    found = np.empty(len(places))
    for start in range(0, len(places), _BLOCK):
        chosen = places[start : start + _BLOCK]
        found[start : start + _BLOCK] = np.vecdot(vectors[chosen].astype(np.float64), wide)
    return found
