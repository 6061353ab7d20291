"""What can be told of each candidate beyond its places: numbers between 0 and 1, one per feature.

Pure arithmetic on what the pool and the facts hold. Knows no weights and no index.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecm.search.pool import Pool

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Features:
    """Values float64 (n, f), finite and in [0, 1], of the first n candidates of a pool."""

    names: tuple[str, ...]
    values: Matrix


def features_of(pool: Pool, depth: int) -> Features:
    """The features of the first `depth` candidates: similarities per axis that answered."""
    names = tuple(f"sim.{axis.value}" for axis in pool.scores)
    columns = [np.nan_to_num(scores[:depth]).clip(0, 1) for scores in pool.scores.values()]
    count = min(depth, len(pool.fused))
    values = np.stack(columns, axis=1) if columns else np.zeros((count, 0))
    return Features(names, values)
