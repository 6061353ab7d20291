"""The candidates of one query after fusion: what is known of them on every axis, and their order.

Pure values. Knows no index, no weights and no clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ecm.contracts.search import Axis, AxisScore
from ecm.search.fusion import Fused, Fusion

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pool:
    """Candidates in fused order, n of them; `fusion` is the method.

    `ranks` are places from 1 among the candidates of an axis, absent outside them. `scores` are
    float64 (n,) per axis that answered, NaN where an asset has none there; `unwanted` float64 (n,)
    per vector axis: the highest cosine with anything that the query does not want. `strengths` is
    how much a candidate is unwanted, in [0, 1], and `demotions` what its fused score loses by that:
    float64 (n,), zeros until they are told.
    """

    fused: tuple[Fused[Axis], ...]
    ranks: Mapping[Axis, Mapping[str, int]]
    scores: Mapping[Axis, Scores]
    unwanted: Mapping[Axis, Scores]
    fusion: Fusion = "rrf"
    strengths: Scores = field(default_factory=lambda: np.zeros(0))
    demotions: Scores = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        for name in ("strengths", "demotions"):
            if not len(getattr(self, name)):
                object.__setattr__(self, name, np.zeros(len(self.fused)))

    @property
    def asset_ids(self) -> list[str]:
        return [one.asset_id for one in self.fused]

    def reordered(self, order: Sequence[int]) -> Pool:
        """The same candidates in another order, given by their places here."""
        chosen = np.array(order, np.intp)
        return replace(
            self,
            fused=tuple(self.fused[place] for place in order),
            scores={axis: scores[chosen] for axis, scores in self.scores.items()},
            unwanted={axis: scores[chosen] for axis, scores in self.unwanted.items()},
            strengths=self.strengths[chosen],
            demotions=self.demotions[chosen],
        )

    def axes_of(self, place: int) -> dict[Axis, AxisScore]:
        """Rank and score of the candidate at a place, on every axis that has a score for it."""
        asset_id = self.fused[place].asset_id
        return {
            axis: AxisScore(rank=self.ranks[axis].get(asset_id), score=float(scores[place]))
            for axis, scores in self.scores.items()
            if not np.isnan(scores[place])
        }
