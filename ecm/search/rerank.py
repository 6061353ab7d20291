"""The second stage: candidates ordered by weighted features less penalties.

Knows the protocol that a reranker of any kind follows and the one that adds up features. Knows no
index and no clock; what happens at a ceiling is the engine's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ecm.contracts.search import QueryType
from ecm.search.features import Features


@dataclass(frozen=True)
class RerankQuestion:
    """What a reranker sees: the query, and of each candidate its features, in fused order.

    `summands` float64 (n, a) are what each of `axes` added to the fused score. `documents` are
    texts of the candidates, for rerankers that read; empty where none was asked for.
    """

    query_type: QueryType
    confidence: float
    text: str
    asset_ids: tuple[str, ...]
    axes: tuple[str, ...]
    summands: npt.NDArray[np.float64]
    features: Features
    documents: tuple[str, ...] = ()


@dataclass(frozen=True)
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


class FeatureReranker:
    """The weighted sum of what the axes and the features say."""

    def rerank(self, question: RerankQuestion) -> Reranked:
        names = tuple(f"rrf.{axis}" for axis in question.axes)
        return Reranked(names, question.summands, question.summands)
