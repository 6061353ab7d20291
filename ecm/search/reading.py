"""A second stage that reads: a model's opinion of each candidate's texts beside the features.

Knows how an opinion enters the score; knows no model library. Where there is nothing to read in a
candidate the opinion is that it does not answer.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ecm.errors import ContractError
from ecm.models.base import PairScorer
from ecm.search.profile import RankingProfile
from ecm.search.rerank import FeatureReranker, Reranked, RerankQuestion
from ecm.search.weights import Reading

READ: Final = "reader"
"""The feature that is what the model thinks."""


class ReadingReranker:
    """The features of a profile, and what a cross-encoder says of query and texts."""

    def __init__(self, scorer: PairScorer, profile: RankingProfile) -> None:
        self._scorer = scorer
        self._features = FeatureReranker(profile)
        self._reading = profile.rerank.reading if profile.rerank is not None else Reading()

    def ranked_by(self, profile: RankingProfile) -> ReadingReranker:
        """See `Reranker.ranked_by`."""
        return ReadingReranker(self._scorer, profile)

    def rerank(self, question: RerankQuestion) -> Reranked:
        """See `Reranker.rerank`. A query without words is ordered by features alone.

        Raises ContractError when the question brings no documents, ResourceExhausted.
        """
        plain = self._features.rerank(question)
        if not question.text:
            return plain
        if len(question.documents) != len(question.asset_ids):
            raise ContractError(
                f"{len(question.documents)} documents for {len(question.asset_ids)} candidates"
            )
        opinions = np.zeros(len(question.documents))
        told = [row for row, document in enumerate(question.documents) if document]
        opinions[told] = self._scorer.score_pairs(
            question.text, [question.documents[row] for row in told]
        )
        column = np.clip(opinions, 0.0, 1.0)[:, None]
        return Reranked(
            names=(*plain.names, READ),
            contributions=np.concatenate(
                [plain.contributions, self._reading.weight * column], axis=1
            ),
            raw=np.concatenate([plain.raw, column], axis=1),
        )
