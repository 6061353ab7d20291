"""How scores of an axis are spread over a tenant's assets, whatever the query: what is no match.

Knows a fixed sample of a tenant's vectors and arithmetic; knows no ranking and no weights. A cosine
alone says little: good and bad ones differ from model to model and from query to query. How many
standard deviations it stands above what assets of the tenant score at random does say something.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ecm.contracts.search import Axis
from ecm.evidence.byte_cache import ByteCache
from ecm.evidence.matrix import SCORE_DIGITS
from ecm.evidence.reader import SnapshotReader
from ecm.search.encoders import AxisVector

SAMPLE: Final = 512
CACHE_BYTES: Final = 64 << 20
_FLAT: Final = 1e-6
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Background:
    """Mean and standard deviation of a query's scores over a sample, of a tenant of `rows`."""

    mean: float
    deviation: float
    rows: int

    def heights(self, scores: Floats) -> Floats:
        """Scores, float64 (n,), as standard deviations above the mean; 0 where there is none (NaN)
        or where all scores are the same.
        """
        if self.deviation < _FLAT:
            return np.zeros(len(scores))
        heights: Floats = np.nan_to_num((scores - self.mean) / self.deviation, posinf=0, neginf=0)
        return heights

    @property
    def expected(self) -> float:
        """The height that the best of `rows` random scores has: sqrt(2 ln n), of normal ones.

        >>> round(Background(0.0, 1.0, 1000).expected, 2)
        3.72
        """
        return math.sqrt(2.0 * math.log(max(self.rows, 2)))


def background_of(scores: Floats, rows: int) -> Background:
    """The background that some scores, float64 (n,), are; those that are NaN do not count."""
    known = scores[~np.isnan(scores)]
    if not len(known):
        return Background(0.0, 0.0, rows)
    mean, deviation = float(known.mean()), float(known.std())
    return Background(round(mean, SCORE_DIGITS), round(deviation, SCORE_DIGITS), rows)


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """Unit vectors, float32 (m, d); `mean` float32 (d,) of the whole tenant, where it is small, and
    `lengths` float32 (m,) of the vectors less the mean.
    """

    vectors: npt.NDArray[np.float32]
    mean: npt.NDArray[np.float32] | None = None
    lengths: npt.NDArray[np.float32] | None = None

    @property
    def nbytes(self) -> int:
        return int(self.vectors.nbytes) + 200

    def scores(self, vector: AxisVector) -> npt.NDArray[np.float32]:
        """Cosines with a query vector, of vectors around their mean where it asks for that."""
        unit = vector.values / max(float(np.linalg.norm(vector.values)), _FLAT)
        # Not by BLAS: axes that are still being asked keep its threads busy, and this is little.
        scores: npt.NDArray[np.float32] = np.einsum("ij,j->i", self.vectors, unit)
        if vector.centred and self.mean is not None and self.lengths is not None:
            return (scores - np.float32(self.mean @ unit)) / self.lengths
        return scores


class Backgrounds:
    """Backgrounds of the vector axes of one opened snapshot. Thread-safe.

    Args:
        reader: the snapshot.

    The sample of a tenant is every n-th of its assets in order of id: ids are digests, so it is as
    good as random, and it is the same for every query on a snapshot.
    """

    def __init__(self, reader: SnapshotReader) -> None:
        self._reader = reader
        self._cache: ByteCache[_Sample] = ByteCache(CACHE_BYTES)

    def of_vector(self, tenant_id: str, axis: Axis, vector: AxisVector) -> Background:
        """Of cosines with a query vector. Raises AxisUnavailable, StoreCorrupt."""
        scores = self._sample(tenant_id, axis).scores(vector)
        return background_of(scores.astype(np.float64), self._reader.ref.tenants.get(tenant_id, 0))

    def _sample(self, tenant_id: str, axis: Axis) -> _Sample:
        if tenant_id not in self._reader.ref.tenants:
            return _Sample(np.zeros((0, self._reader.ref.dims[axis]), np.float32))
        return self._cache.get((tenant_id, axis), lambda: self._loaded(tenant_id, axis))

    def _loaded(self, tenant_id: str, axis: Axis) -> _Sample:
        reader = self._reader
        if reader.is_exact(tenant_id):
            matrix = reader.tenant_matrix(tenant_id, axis)
            step = max(1, math.ceil(len(matrix.asset_ids) / SAMPLE))
            vectors = np.ascontiguousarray(matrix.vectors[::step])
            lengths = np.linalg.norm(vectors - matrix.mean, axis=1)
            return _Sample(vectors, matrix.mean, np.maximum(lengths, _FLAT).astype(np.float32))
        ids = sorted(reader.tenant_table(tenant_id, ["asset_id"])["asset_id"].to_pylist())
        chosen = reader.vectors_of(tenant_id, axis, ids[:: math.ceil(len(ids) / SAMPLE)])
        vectors = np.zeros((len(chosen), reader.ref.dims[axis]), np.float32)
        for row, asset_id in enumerate(sorted(chosen)):
            vectors[row] = chosen[asset_id]
        return _Sample(vectors)
