"""One search, from request to explained answer.

Knows the order of the steps and what is refused; knows no model (a `QueryEncoder` is passed in) and
no HTTP. `plan`, `gather` and `answer` are apart so that a service can encode between the first two
and rerank between the last two, in other processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import fields, replace
from typing import Final

from ecm.contracts.search import (
    LostReason,
    SearchRequest,
    SearchResponse,
    SortOrder,
)
from ecm.errors import AxisUnavailable, QueryError
from ecm.evidence.allowed import Allowed
from ecm.evidence.reader import SnapshotReader
from ecm.search.alternatives import Alternatives
from ecm.search.asking import Begun, Found, ask_axes, begin_words
from ecm.search.background import Backgrounds
from ecm.search.blending import QueryVectors, query_vectors
from ecm.search.candidates import Candidates
from ecm.search.config import FEATURES, SearchConfig
from ecm.search.cursor import Cursor, query_digest
from ecm.search.cutoff import judged
from ecm.search.encoders import EncodedQuery, QueryEncoder
from ecm.search.facts import Facts, FactsCache
from ecm.search.filters import allowed_by
from ecm.search.fusion import fused
from ecm.search.laps import Laps
from ecm.search.ordered import (
    Gathered,
    KnownPlan,
    NotReranked,
    Ordered,
)
from ecm.search.plan import Plan, planned
from ecm.search.pool import Pool
from ecm.search.pooling import pooled
from ecm.search.profile import RankingProfile
from ecm.search.ranked import Ranked, in_order
from ecm.search.recent import Recent
from ecm.search.rerank import FeatureReranker, Reranked, Reranker, RerankQuestion
from ecm.search.second_stage import (
    QueryWeights,
    ceiling_ms,
    documents_of,
    held_against,
    query_weights,
    rerank_depth,
    rerank_question,
)
from ecm.search.signals import Signals, signals_of
from ecm.search.sorting import check_order, sorted_ids
from ecm.search.telling import Telling

MOST_REMEMBERED: Final = 10_000
"""Hits of one remembered ranking, 112 bytes each; longer listings are sorted for every page."""


class SearchEngine:
    """Searches one opened snapshot. Thread-safe; a context manager.

    Args:
        reader: the snapshot.
        encoder: brings questions into the vector spaces; asked by `search` only.
        ranking: weights and boosts.
        config: ceilings of the profile.
        reranker: the second stage; asked by `search` only. None: the profile's features.
        structure: fingerprint of the structure descriptor, where x is made by it.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        reader: SnapshotReader,
        encoder: QueryEncoder,
        ranking: RankingProfile,
        config: SearchConfig,
        *,
        reranker: Reranker | None = None,
        structure: str | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.reader = reader
        reader.recall.measure(config.recall_sample)
        self.ranking = ranking
        self.candidates = Candidates(reader, ranking.boosts())
        self.facts = FactsCache(reader, config.facts_cache_bytes, structure)
        self._encoder = encoder
        self._config = config
        self._clock = clock
        self._reranker = reranker or FeatureReranker(ranking)
        self._backgrounds = Backgrounds(reader)
        self._digest = ranking.digest()
        self.telling = Telling(reader, ranking, self._digest, config.evidence_per_hit, clock)
        self._threads = ThreadPoolExecutor(config.axis_threads, thread_name_prefix="axis")
        self._recent: Recent[str, Ordered] = Recent(config.remembered_rankings)

    def ranked_by(self, ranking: RankingProfile) -> SearchEngine:
        """An engine of another ranking profile on what this one holds open; not to be closed."""
        other = copy(self)
        other.ranking, other._digest = ranking, ranking.digest()
        other.telling = replace(self.telling, ranking=ranking, digest=other._digest)
        other.candidates = Candidates(self.reader, ranking.boosts())
        other._reranker = self._reranker.ranked_by(ranking)
        other._recent = Recent(self._config.remembered_rankings)
        return other

    def __enter__(self) -> SearchEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def warm(self, tenant_id: str) -> None:
        """Load what a tenant's searches need, before anybody waits for it. Raises StoreCorrupt."""
        self.facts.warm(tenant_id)
        self.reader.warm_rows(tenant_id)
        if self.reader.is_exact(tenant_id):
            for axis in self.reader.ref.dims.keys() - self.reader.broken.keys():
                self.reader.tenant_matrix(tenant_id, axis)

    def warm_like(self, other: SearchEngine) -> None:
        """Load what another engine has in memory. Raises StoreCorrupt."""
        self.reader.warm_like(other.reader)
        for tenant_id in other.facts.loaded():
            self.facts.warm(tenant_id)
            self.reader.warm_rows(tenant_id)

    def search(self, request: SearchRequest) -> SearchResponse:
        """The answer to a request.

        Raises:
            QueryError: nothing to search with, a foreign or stale cursor, an unknown asset, a
                filter on what this snapshot does not tell.
            ImageError: a query image cannot be read.
            AxisUnavailable: a required axis cannot answer, or none can.
            StoreCorrupt, StoreUnavailable: the rows of the hits cannot be read.
        """
        plan = self.plan(request)
        begun = self.begin(plan)
        gathered = self.gather(plan, self.encoded(plan), begun)
        if gathered.rerank is None:
            return self.answer(plan, gathered, None)
        started = self._clock()
        reranked = self._reranker.rerank(gathered.rerank)
        took = (self._clock() - started) * 1000.0
        if took > gathered.budget_ms and plan.cursor is None:
            said = f"reranking took {took:.1f} ms, {gathered.budget_ms:.1f} ms were left for it"
            return self.answer(plan, gathered, NotReranked(LostReason.CEILING, said))
        return self.answer(plan, gathered, reranked)

    def plan(self, request: SearchRequest) -> Plan:
        """What the request needs before it can be answered. Raises QueryError."""
        started = self._clock()
        cursor = Cursor.opened(request.cursor) if request.cursor is not None else None
        digest = query_digest(request)
        if cursor is not None:
            self._check_cursor(cursor, digest)
        plan = planned(request, digest, cursor, started, self._config.time_ceiling_ms)
        ordered = self._recent.get(digest)
        if ordered is None or (cursor is not None and not _same_ranking(cursor, ordered)):
            return plan
        known = {field.name: getattr(plan, field.name) for field in fields(plan)}
        return KnownPlan(**{**known, "encodings": ()}, ordered=ordered)

    def begin(self, plan: Plan) -> Begun:
        """What needs no encoding: the filter, and words, which are looked for meanwhile.

        Raises QueryError, StoreCorrupt.
        """
        laps, allowed = Laps(self._clock), None
        if isinstance(plan, KnownPlan):
            return Begun(None, None, laps)
        if plan.request.filter is not None:
            with laps.lap("filter"):
                allowed = allowed_by(plan.request.filter, self.facts.of(plan.request.tenant_id))
        words = begin_words(plan, self.candidates, allowed, self._threads, self._clock)
        return Begun(allowed, words, laps)

    def encoded(self, plan: Plan) -> list[EncodedQuery]:
        """What a plan wants encoded, by the models of this process. Raises ImageError."""
        return self._encoder.encode(plan.encodings) if plan.encodings else []

    def gather(
        self, plan: Plan, encoded: Sequence[EncodedQuery], begun: Begun | None = None
    ) -> Gathered:
        """The candidates, once the plan's encodings are there. Raises as `search`.

        `begun` is what `begin` gave for the plan before; None: it is begun now.
        """
        if isinstance(plan, KnownPlan):
            return replace(plan.ordered.gathered, laps=Laps(self._clock))
        since_ms = (self._clock() - plan.started) * 1000.0
        before = begun.laps.milliseconds if begun is not None else {}
        encoding_ms = since_ms - sum(before.values())
        begun = begun or self.begin(plan)
        laps = begun.laps
        laps.add("encode", encoding_ms)
        vectors = query_vectors(plan, encoded, self.reader)
        if plan.browsing:
            found, facts = Found(), self.facts.of(plan.request.tenant_id)
            weights = query_weights(plan, found, self.ranking)
            return Gathered(found, weights, None, None, facts, begun.allowed, None, 0.0, laps)
        with laps.lap("axes"):
            found = ask_axes(plan, vectors, self.candidates, begun, self._threads, self._clock)
        for axis, milliseconds in found.milliseconds.items():
            laps.add(f"axis.{axis.value}", milliseconds)
        _check_required(plan, found)
        if plan.cursor is not None and plan.cursor.axes != found.answering():
            raise _stale("other axes")
        return self._candidates_of(plan, found, vectors, begun.allowed, laps)

    def gather_again(
        self, plan: Plan, encoded: Sequence[EncodedQuery], gathered: Gathered
    ) -> Gathered:
        """What an engine of the same snapshot and text boosts has gathered, as this one ranks it:
        no axis is asked. Raises as `search`.
        """
        if isinstance(plan, KnownPlan):
            return replace(plan.ordered.gathered, laps=Laps(self._clock))
        if gathered.pool is None:
            return gathered
        vectors = query_vectors(plan, encoded, self.reader)
        laps = Laps(self._clock)
        return self._candidates_of(plan, gathered.found, vectors, gathered.allowed, laps)

    def answer(
        self, plan: Plan, gathered: Gathered, reranked: Reranked | NotReranked | None
    ) -> SearchResponse:
        """The answer, once its candidates are reranked, or why they are not. Raises as `search`."""
        return self.telling.page(plan, self.order(plan, gathered, reranked), gathered.laps)

    def order(
        self, plan: Plan, gathered: Gathered, reranked: Reranked | NotReranked | None
    ) -> Ordered:
        """The whole ranking, of which pages are cut. Raises as `search`."""
        if isinstance(plan, KnownPlan):
            return plan.ordered
        with gathered.laps.lap("order"):
            ordered = self._ordered(plan, gathered, reranked)
        if self._is_remembered(plan, ordered):
            kept = replace(ordered, gathered=replace(gathered, rerank=None))
            self._recent.put(plan.digest, kept)
        return ordered

    def _candidates_of(
        self,
        plan: Plan,
        found: Found,
        vectors: QueryVectors,
        allowed: Allowed | None,
        laps: Laps,
    ) -> Gathered:
        weights = query_weights(plan, found, self.ranking)
        pool = self._pool(plan, found, weights, vectors, laps)
        with laps.lap("facts"):
            facts = self._facts_of(plan, pool)
        with laps.lap("features"):
            signals = signals_of(plan, pool, facts, vectors, self.reader, self._backgrounds)
            question = self._rerank_question(plan, pool, signals, weights)
        budget = ceiling_ms(plan, self._clock(), self.ranking, self._config.rerank_ceiling_ms)
        return Gathered(found, weights, pool, signals, facts, allowed, question, budget, laps)

    def _pool(
        self, plan: Plan, found: Found, weights: QueryWeights, vectors: QueryVectors, laps: Laps
    ) -> Pool:
        with laps.lap("fuse"):
            rankings = {axis: ranking.scored for axis, ranking in found.rankings.items()}
            merged = fused(rankings, weights.axes, self.ranking.fusion, self.ranking.k)
        with laps.lap("fill"):
            pool = pooled(plan, merged, found, vectors, self.candidates)
            return held_against(pool, plan, found, self.reader, self.ranking)

    def _facts_of(self, plan: Plan, pool: Pool) -> Facts:
        """Those of the whole tenant, where they are in memory for good; else of the candidates."""
        tenant_id = plan.request.tenant_id
        if self.facts.fits(tenant_id) or plan.request.filter is not None:
            return self.facts.of(tenant_id)
        return self.facts.among(tenant_id, pool.asset_ids)

    def _rerank_question(
        self, plan: Plan, pool: Pool, signals: Signals, weights: QueryWeights
    ) -> RerankQuestion | None:
        depth = rerank_depth(plan, pool, self.ranking, self._config.reranker)
        if not depth:
            return None
        read = documents_of(signals, depth) if self._config.reranker != FEATURES else ()
        return rerank_question(plan, pool, signals, depth, self.ranking, weights, documents=read)

    def _ordered(
        self, plan: Plan, gathered: Gathered, reranked: Reranked | NotReranked | None
    ) -> Ordered:
        failed = reranked if isinstance(reranked, NotReranked) else None
        scored = reranked if isinstance(reranked, Reranked) else None
        if failed is not None and plan.cursor is not None:
            raise AxisUnavailable(
                f"the next page cannot be ranked as the first was: {failed.reason}", "rerank"
            )
        facts, pool, request = gathered.facts, gathered.pool, plan.request
        check_order(request.sort, facts)
        if pool is None:
            allowed = gathered.allowed
            ids = list(facts.asset_ids if allowed is None else allowed.asset_ids)
            order = SortOrder.NEWEST if request.sort is SortOrder.RELEVANCE else request.sort
            listed = tuple(Ranked(a, -1, 0.0) for a in sorted_ids(order, facts, ids))
            return Ordered(gathered, listed, None, None, 0, 0, None, None)
        assert gathered.signals is not None, "a pool has signals"
        judgement = judged(pool, gathered.signals, request.min_relevance, self.ranking.cutoff)
        ranked = in_order(pool, scored)
        kept = tuple(one for one in ranked if judgement.passes(one.place))
        by_score = request.sort is SortOrder.RELEVANCE
        if not by_score:
            by_id = {one.asset_id: one for one in kept}
            kept = tuple(by_id[a] for a in sorted_ids(request.sort, facts, list(by_id)))
        depth = len(scored.contributions) if scored is not None else 0
        cut = len(ranked) - len(kept)
        alternatives = Alternatives(
            pool,
            gathered.signals,
            scored,
            gathered.weights.axes,
            self.ranking.boosts(),
            self.ranking.k,
            [one.place for one in kept],
        )
        relevance, threshold = judgement.relevance, judgement.threshold
        told = alternatives if by_score else None  # no evidence moves what is sorted by a fact
        return Ordered(gathered, kept, relevance, threshold, cut, depth, failed, told)

    def _is_remembered(self, plan: Plan, ordered: Ordered) -> bool:
        """Whether first pages are cut from it: no later one that goes on as poorly as it began, and
        nothing that takes megabytes, as many of a tenant's assets do, or facts that no cache has.
        """
        request, pool = plan.request, ordered.gathered.pool
        if len(ordered.ranked) > MOST_REMEMBERED:
            return False
        if request.filter is not None and not self.facts.fits(request.tenant_id):
            return False
        if pool is None:
            return True
        first = replace(plan, cursor=None)
        depth = rerank_depth(first, pool, self.ranking, self._config.reranker)
        return not ordered.gathered.found.lost and ordered.reranked == depth

    def _check_cursor(self, cursor: Cursor, digest: str) -> None:
        if cursor.query != digest:
            raise QueryError(
                "the cursor belongs to another query", "query.cursor", "ask again without a cursor"
            )
        same_snapshot = cursor.snapshot_id == self.reader.ref.snapshot_id
        if not same_snapshot or cursor.ranking != self._digest[:16]:
            raise _stale("another snapshot or ranking profile")


def _check_required(plan: Plan, found: Found) -> None:
    for axis in plan.request.require:
        if axis not in found.rankings:
            raise AxisUnavailable(
                f"required axis {axis.value} cannot answer: {found.lost[axis].reason}",
                f"axis.{axis.value}",
            )
    if found.in_vain:
        reasons = "; ".join(f"{axis.value}: {lost.reason}" for axis, lost in found.lost.items())
        raise AxisUnavailable(f"no axis can answer this query: {reasons}", "axis.none")


def _same_ranking(cursor: Cursor, ordered: Ordered) -> bool:
    return cursor.axes == ordered.gathered.found.answering() and (
        cursor.reranked == ordered.reranked
    )


def _stale(what: str) -> QueryError:
    return QueryError(
        f"the cursor was made with {what}", "query.cursor_stale", "ask again without a cursor"
    )
