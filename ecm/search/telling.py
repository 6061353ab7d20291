"""How a ranking becomes an answer: a page of hits, where the next one starts, what was lost.

Knows contracts and the snapshot that hits are read from; ranks nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ecm.contracts.search import Hit, RankingUsed, SearchResponse
from ecm.evidence.reader import SnapshotReader
from ecm.search.cursor import Cursor
from ecm.search.facets import facets_of, uncountable
from ecm.search.laps import Laps
from ecm.search.ordered import Ordered, degraded, uncounted
from ecm.search.plan import Plan
from ecm.search.profile import RankingProfile
from ecm.search.ranked import Ranked
from ecm.search.showing import Page


@dataclass(frozen=True)
class Telling:
    """The answers of one engine. `digest` is that of its ranking; `clock` in seconds, monotonic."""

    reader: SnapshotReader
    ranking: RankingProfile
    digest: str
    evidence_per_hit: int
    clock: Callable[[], float]

    def page(self, plan: Plan, ordered: Ordered, laps: Laps) -> SearchResponse:
        """The page of a ranking that a plan asks for. Raises StoreCorrupt."""
        offset = plan.cursor.offset if plan.cursor is not None else 0
        page = ordered.ranked[offset : offset + plan.request.limit]
        with laps.lap("hits"):
            shown = self.hits(plan, ordered, page, offset)
        cursor = self._next_cursor(plan, ordered, offset + len(page))
        return self.response(plan, ordered, laps, shown, cursor)

    def hits(
        self, plan: Plan, ordered: Ordered, page: Sequence[Ranked], offset: int
    ) -> tuple[Hit, ...]:
        """Some of a ranking, with ranks from `offset` + 1. Raises StoreCorrupt."""
        gathered = ordered.gathered
        showing = Page(
            self.reader,
            plan,
            gathered.pool,
            ordered.relevance,
            ordered.alternatives,
            self.evidence_per_hit,
        )
        return showing.hits(page, offset, gathered.facts)

    def response(
        self, plan: Plan, ordered: Ordered, laps: Laps, hits: tuple[Hit, ...], cursor: str | None
    ) -> SearchResponse:
        """The answer that shows these hits of a ranking."""
        request, found, facts = plan.request, ordered.gathered.found, ordered.gathered.facts
        with laps.lap("facets"):
            ids = [one.asset_id for one in ordered.ranked] if request.facets else []
            facets = facets_of(request.facets, facts, ids) if request.facets else {}
        stored = self.reader.ref.transforms
        return SearchResponse(
            snapshot_id=self.reader.ref.snapshot_id,
            ranking_profile=self.ranking.version,
            query_type=plan.question.query_type,
            fingerprints={axis: ",".join(stored.get(axis, ())) for axis in found.rankings},
            degraded=(*degraded(ordered), *uncounted(uncountable(request.facets, facts))),
            partial=found.late,
            understood=plan.question.understood(),
            ranking=RankingUsed(
                version=self.ranking.version,
                digest=self.digest,
                fusion=self.ranking.fusion,
                weights=ordered.gathered.weights.axes,
                weights_by=ordered.gathered.weights.by,
                reranked=ordered.reranked,
                cut=ordered.cut,
                threshold=ordered.threshold,
            ),
            matched=len(ordered.ranked),
            facets=facets,
            hits=hits,
            cursor=cursor,
            profile=dict(laps.milliseconds) if request.profile else None,
            took_ms=(self.clock() - plan.started) * 1000.0,
        )

    def _next_cursor(self, plan: Plan, ordered: Ordered, offset: int) -> str | None:
        if offset >= len(ordered.ranked) or offset < 1:
            return None
        return Cursor(
            snapshot_id=self.reader.ref.snapshot_id,
            query=plan.digest,
            ranking=self.digest[:16],
            axes=ordered.gathered.found.answering(),
            reranked=ordered.reranked,
            offset=offset,
        ).seal()
