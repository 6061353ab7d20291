"""Exact cosine search in memory: a tenant's vectors on one axis, and a cache of them.

Knows arithmetic. Knows no Lance and no snapshot.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ecm.evidence.byte_cache import ByteCache

Vector = npt.NDArray[np.float32]

SCORE_DIGITS: Final = 6
"""Scores are rounded to these, so that equal vectors tie whatever order BLAS sums in."""


@dataclass(frozen=True, slots=True)
class TenantMatrix:
    """All vectors of a tenant on one axis, in order of asset id.

    `vectors` is float32 (n, d), each row L2-normalised; `mean` float32 (d,) is their mean (zeros if
    there are none).
    """

    asset_ids: list[str]
    vectors: Vector
    mean: Vector

    @property
    def nbytes(self) -> int:
        """Bytes held, with about 120 for each id."""
        return int(self.vectors.nbytes + self.mean.nbytes) + 120 * len(self.asset_ids)

    def vector(self, asset_id: str) -> Vector | None:
        """The vector of an asset, float32 (d,), or None."""
        place = bisect_left(self.asset_ids, asset_id)
        if place == len(self.asset_ids) or self.asset_ids[place] != asset_id:
            return None
        row: Vector = self.vectors[place]
        return row

    def top(self, query: Vector, limit: int) -> list[tuple[str, float]]:
        """The `limit` best (asset id, cosine), ties by asset id; `query` is of length 1."""
        scores = np.round((self.vectors @ query).astype(np.float64), SCORE_DIGITS)
        if len(scores) > limit:
            least = np.partition(scores, len(scores) - limit)[len(scores) - limit]
            places = np.flatnonzero(scores >= least)
        else:
            places = np.arange(len(scores))
        best = places[np.argsort(-scores[places], kind="stable")][:limit]
        return [(self.asset_ids[place], float(scores[place])) for place in best]


def assembled(
    asset_ids: Iterable[str], parts: Iterable[tuple[list[str], Vector]], dim: int
) -> TenantMatrix:
    """The matrix of (asset ids, vectors float32 (n, dim)) that come in any order.

    `asset_ids` are all that may come, each once; those without a vector are left out. A vector is
    copied once, to where it belongs, while the next part is being read.
    """
    ids = sorted(asset_ids)
    index = {asset_id: place for place, asset_id in enumerate(ids)}
    placed = np.empty((len(ids), dim), dtype=np.float32)
    there = np.zeros(len(ids), dtype=np.bool_)
    for names, vectors in parts:
        places = [index[name] for name in names]
        placed[places] = vectors
        there[places] = True
    if not there.all():
        placed, ids = placed[there], [ids[place] for place in np.flatnonzero(there)]
    mean = placed.mean(axis=0, dtype=np.float64) if len(ids) else np.zeros(dim)
    return TenantMatrix(ids, placed, mean.astype(np.float32))


class MatrixCache(ByteCache[TenantMatrix]):
    """Matrices by key, the least recently used dropped first. Thread-safe; each is loaded once."""
