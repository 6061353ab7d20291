"""One training query as numbers: its candidates, what speaks for each, what is known of it.

Pure values. Knows no engine, no weights and no file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ecm.contracts.search import Axis
from ecm.search.features import FEATURES
from ecm.search.query_features import QUERY_FEATURES

Floats = npt.NDArray[np.float64]
AXES: Final = tuple(axis.value for axis in Axis)
ROWS: Final = ("keyword", "semantic", "visual", "mixed", "alone", "with_text")
"""Rows of weights of a profile: the types of texts, and what is shown."""
WEIGHTS: Final = (*AXES, *FEATURES)
"""What has a weight, in the order of all arrays here: p = a axes, then f features."""


@dataclass(frozen=True, eq=False)
class Example:
    """A query with n candidates in order of asset id, so that a stable sort breaks ties by it.

    raised: float64 (n, p), what each axis gives a candidate before its weight (a reciprocal rank, 1
        for the first; with DBSF a share), then its features.
    against: float64 (n,), the penalties, weighted, as if fusion counted RAISED beside them.
    gains: float64 (n,), relevance 0, 1 or 2. `ideal`: the DCG@10 of the best order of all labels.
    answering: float64 (a,), 1 of the axes that took part.
    mixture: float64 (r,), how much of each of ROWS is in the weights of the query.
    told: float64 (j,), QUERY_FEATURES, NaN of those that are not there.
    """

    query_id: str
    group: str
    raised: Floats
    against: Floats
    gains: Floats
    ideal: float
    answering: Floats
    mixture: Floats
    told: Floats

    def __post_init__(self) -> None:
        count = len(self.raised)
        shapes = (
            self.raised.shape == (count, len(WEIGHTS)),
            self.against.shape == self.gains.shape == (count,),
            self.answering.shape == (len(AXES),),
            self.mixture.shape == (len(ROWS),),
            self.told.shape == (len(QUERY_FEATURES),),
        )
        if not all(shapes) or not self.ideal > 0 or not np.isfinite(self.raised).all():
            raise ValueError(f"not the numbers of an example: {self.query_id}")
