"""The deployment of the second stage: orders the candidates of a question again.

Knows how a reranker is held in a replica; what it does is known to `ecm.search.rerank`. Whoever
asks waits no longer than the question may cost, and shows the merged order else.
"""

import asyncio
import time

from ray import serve

from ecm.config import Profile
from ecm.opening import search_parts
from ecm.search.opening import open_reranker
from ecm.search.profile import RankingProfile
from ecm.search.rerank import Reranked, RerankQuestion
from serve.exposition import Told, told
from serve.meters import RerankMeters


@serve.deployment
class Reranker:
    """Holds what the ranking profile reranks with."""

    def __init__(self, profile: Profile) -> None:
        self._reranker = open_reranker(search_parts(profile))
        self._meters = RerankMeters()

    async def rerank(
        self, question: RerankQuestion, ranking: RankingProfile | None = None
    ) -> Reranked:
        """Contributions per candidate, in the order asked, by the ranking in force or by another
        one, whose models are the same.
        """
        started = time.perf_counter()
        asked = self._reranker if ranking is None else self._reranker.ranked_by(ranking)
        answer = await asyncio.to_thread(asked.rerank, question)
        self._meters.reranked(len(question.asset_ids), time.perf_counter() - started)
        return answer

    async def alive(self) -> None:
        """Answers while the replica runs."""

    async def metrics(self) -> Told:
        """What this replica has counted."""
        return told(self._meters)
