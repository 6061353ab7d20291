"""The candidates of one query after fusion: what is known of them on every axis, and their order.

Pure values. Knows no index, no weights and no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecm.contracts.search import Axis, AxisScore
from ecm.search.fusion import Fused

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pool:
    """Candidates in fused order, n of them.

    `ranks` are places from 1 among the candidates of an axis, absent outside them. `scores` are
    float64 (n,) per axis that answered, NaN where an asset has none there; `unwanted` float64 (n,)
    per vector axis: the highest cosine with anything that the query does not want.
    """

    fused: tuple[Fused[Axis], ...]
    ranks: Mapping[Axis, Mapping[str, int]]
    scores: Mapping[Axis, Scores]
    unwanted: Mapping[Axis, Scores]

    @property
    def asset_ids(self) -> list[str]:
        return [one.asset_id for one in self.fused]

    def axes_of(self, place: int) -> dict[Axis, AxisScore]:
        """Rank and score of the candidate at a place, on every axis that has a score for it."""
        asset_id = self.fused[place].asset_id
        return {
            axis: AxisScore(rank=self.ranks[axis].get(asset_id), score=float(scores[place]))
            for axis, scores in self.scores.items()
            if not np.isnan(scores[place])
        }
