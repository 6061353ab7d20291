"""The second stage: candidates ordered by weighted features less penalties.

Knows the protocol that a reranker of any kind follows and the one that adds up features. Knows no
index and no clock; what happens at a ceiling is the engine's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ecm.contracts.search import QueryType
from ecm.search.features import Features
from ecm.search.profile import RankingProfile
from ecm.search.weights import PRIOR

PENALTY = "penalty."


@dataclass(frozen=True, eq=False)
class RerankQuestion:
    """What a reranker sees: the query, and of each candidate its features, in fused order.

    `look` (0-1) is how much its words are about look. `summands` float64 (n, a) are what each of
    `axes` added to the fused score by `fusion`, and `most` the highest fused score there could be.
    `documents` are texts of the candidates, for rerankers that read; empty where nobody does.
    `factors` multiply the type's weights of features for this query, 1 of those not named.
    """

    query_type: QueryType
    confidence: float
    by_example: bool
    look: float
    text: str
    asset_ids: tuple[str, ...]
    fusion: str
    axes: tuple[str, ...]
    summands: npt.NDArray[np.float64]
    most: float
    features: Features
    penalties: Features
    documents: tuple[str, ...] = ()
    factors: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Reranked:
    """Contributions float64 (n, c) by name, a row per candidate in the order asked.

    The score of a candidate is the `math.fsum` of its row. `raw` float64 (n, c) is each feature
    before its weight.
    """

    names: tuple[str, ...]
    contributions: npt.NDArray[np.float64]
    raw: npt.NDArray[np.float64]


class Reranker(Protocol):
    """Scores the candidates of a question."""

    def rerank(self, question: RerankQuestion) -> Reranked: ...

    def ranked_by(self, profile: RankingProfile) -> Reranker:
        """The same one with the weights of another profile."""
        ...


class FeatureReranker:
    """The weighted sum of what the axes and the features say, less what the penalties do.

    What fusion said enters as a share of the highest score it could give, so that its weight is
    that of one more feature. Raises no error; a profile without `rerank` leaves fusion as it is.
    """

    def __init__(self, profile: RankingProfile) -> None:
        self._weights = profile.rerank

    def ranked_by(self, profile: RankingProfile) -> FeatureReranker:
        """See `Reranker.ranked_by`."""
        return FeatureReranker(profile)

    def rerank(self, question: RerankQuestion) -> Reranked:
        """See `Reranker.rerank`."""
        names = [f"{question.fusion}.{axis}" for axis in question.axes]
        if self._weights is None:
            return Reranked(tuple(names), question.summands, question.summands)
        table = self._weights.weights
        if question.by_example:
            row = table.shown_row(question.text)
        else:
            row = table.row(question.query_type, question.confidence, question.look)
        row = {name: weight * question.factors.get(name, 1.0) for name, weight in row.items()}
        prior = row[PRIOR] / question.most if question.most > 0 else 0.0
        features, penalties = question.features, question.penalties
        against: Mapping[str, float] = dict(self._weights.penalties.items())
        factors = [
            *([prior] * len(names)),
            *(row.get(name, 0.0) for name in features.names),
            *(-against.get(name, 0.0) for name in penalties.names),
        ]
        raw = np.concatenate([question.summands, features.values, penalties.values], axis=1)
        named = (*names, *features.names, *(PENALTY + name for name in penalties.names))
        return Reranked(named, raw * np.array(factors), raw)
