"""One search, from request to explained answer: plan, candidates, fusion, hits.

Knows the order of the steps and what is refused; knows no model (a `QueryEncoder` is passed in) and
no HTTP. `plan` and `answer` are apart so that a service can encode elsewhere between them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ecm.contracts.search import (
    Axis,
    AxisScore,
    Degradation,
    Hit,
    LostReason,
    RankingUsed,
    SearchRequest,
    SearchResponse,
    Understood,
)
from ecm.errors import AxisUnavailable, QueryError
from ecm.evidence.reader import SnapshotReader, SnapshotRow
from ecm.search.candidates import Candidates, Lost, Ranking, Scope
from ecm.search.config import SearchConfig
from ecm.search.cursor import Cursor, query_digest
from ecm.search.encoders import AxisVector, EncodedQuery, EncodingRequest, QueryEncoder
from ecm.search.explain import Asked, contributions_of, evidence_of, sentence
from ecm.search.fusion import Fused, weighted_rrf
from ecm.search.profile import RankingProfile
from ecm.search.query import Intent, intent_of

VECTOR_AXES = (Axis.VV, Axis.X, Axis.MV)


@dataclass(frozen=True)
class Plan:
    """What a request needs: its intent, what to encode (None: nothing), where its page starts."""

    request: SearchRequest
    intent: Intent
    encoding: EncodingRequest | None
    cursor: Cursor | None
    started: float

    @property
    def text(self) -> str:
        return (self.request.text or "").strip()

    @property
    def shown(self) -> bool:
        """Whether the question shows something: an image or an asset."""
        return self.request.image is not None or self.request.asset_id is not None


@dataclass(frozen=True)
class Found:
    """What the axes answered: rankings, query vectors, and the axes that were lost."""

    rankings: dict[Axis, Ranking] = field(default_factory=dict)
    vectors: dict[Axis, AxisVector] = field(default_factory=dict)
    lost: dict[Axis, Lost] = field(default_factory=dict)


class SearchEngine:
    """Searches one opened snapshot. Thread-safe; a context manager.

    Args:
        reader: the snapshot.
        encoder: brings questions into the vector spaces; asked by `search` only.
        ranking: weights and boosts.
        config: ceilings of the profile.
        exact_rows: tenants up to this many assets are scored exactly.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        reader: SnapshotReader,
        encoder: QueryEncoder,
        ranking: RankingProfile,
        config: SearchConfig,
        *,
        exact_rows: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.reader = reader
        self.ranking = ranking
        self._encoder = encoder
        self._config = config
        self._clock = clock
        self._candidates = Candidates(reader, ranking.boosts(), exact_rows)

    def __enter__(self) -> SearchEngine:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def search(self, request: SearchRequest) -> SearchResponse:
        """The answer to a request.

        Raises:
            QueryError: nothing to search with, a foreign or stale cursor, an unknown asset.
            ImageError: the query image cannot be read.
            AxisUnavailable: a required axis cannot answer, or none can.
            StoreCorrupt, StoreUnavailable: the rows of the hits cannot be read.
        """
        plan = self.plan(request)
        encoded = None
        if plan.encoding is not None:
            encoded = self._encoder.encode([plan.encoding])[0]
        return self.answer(plan, encoded)

    def plan(self, request: SearchRequest) -> Plan:
        """What the request needs before it can be answered. Raises QueryError."""
        started = self._clock()
        intent = intent_of(request)
        unfit = [axis.value for axis in request.require if axis not in intent.axes]
        if unfit or not intent.axes:
            asked = ", ".join(unfit) or "the axes asked for"
            raise QueryError(
                f"this query gives nothing to compare on {asked}",
                "query.axes",
                "images speak to vv, x and mv; texts to vv, mv and fts, on x of colour and layout",
            )
        cursor = None
        if request.cursor is not None:
            cursor = Cursor.opened(request.cursor)
            self._check_cursor(cursor, request)
        needed = frozenset(intent.axes) & frozenset(VECTOR_AXES)
        if request.asset_id is not None:
            needed &= {Axis.MV} if request.text and request.text.strip() else set()
        encoding = None
        if needed:
            encoding = EncodingRequest(needed, request.text, request.image)
        return Plan(request, intent, encoding, cursor, started)

    def answer(self, plan: Plan, encoded: EncodedQuery | None) -> SearchResponse:
        """The answer, once the query is encoded (None: nothing was to be). Raises as `search`."""
        if encoded is not None and encoded.refused is not None:
            raise encoded.refused
        found = self._ask_axes(plan, self._vectors(plan, encoded), encoded)
        self._check_required(plan, found)
        self._check_page(plan, found)
        merged = weighted_rrf(
            {axis: ranking.asset_ids() for axis, ranking in found.rankings.items()},
            self._weights(plan),
            k=self.ranking.k,
        )
        offset = plan.cursor.offset if plan.cursor is not None else 0
        page = merged[offset : offset + plan.request.limit]
        return SearchResponse(
            snapshot_id=self.reader.ref.snapshot_id,
            ranking_profile=self.ranking.version,
            query_type=plan.intent.query_type,
            fingerprints=self._fingerprints(found),
            degraded=_degraded(found),
            understood=Understood(
                query_type=plan.intent.query_type,
                confidence=plan.intent.confidence,
                axes=plan.intent.axes,
                wanted=plan.text,
            ),
            ranking=RankingUsed(
                version=self.ranking.version,
                digest=self.ranking.digest(),
                fusion="rrf",
                weights=self._weights(plan),
                reranked=0,
            ),
            matched=len(merged),
            hits=self._hits(plan, found, page, offset),
            cursor=self._next_cursor(plan, found, offset + len(page), len(merged)),
            took_ms=(self._clock() - plan.started) * 1000.0,
        )

    def _weights(self, plan: Plan) -> dict[Axis, float]:
        if plan.shown:
            return self.ranking.shown_weights(with_text=bool(plan.text))
        return self.ranking.text_weights(plan.intent.query_type, plan.intent.confidence)

    def _vectors(self, plan: Plan, encoded: EncodedQuery | None) -> dict[Axis, AxisVector]:
        """Query vectors by axis: of the encoder, and of the asset that the query names."""
        vectors = dict(encoded.vectors) if encoded is not None else {}
        asset_id = plan.request.asset_id
        if asset_id is None:
            return vectors
        tenant = plan.request.tenant_id
        if not self.reader.rows(tenant, [asset_id]):
            raise QueryError(
                f"no asset {asset_id} in this snapshot", "query.asset_unknown", "check the asset id"
            )
        for axis in plan.intent.axes:
            usable = axis in VECTOR_AXES and axis not in self.reader.broken
            if axis in vectors or not usable:
                continue
            own = self.reader.vectors_of(tenant, axis, [asset_id]).get(asset_id)
            if own is not None:
                vectors[axis] = AxisVector(own, self.reader.ref.transforms[axis][0])
        return vectors

    def _ask_axes(
        self, plan: Plan, vectors: Mapping[Axis, AxisVector], encoded: EncodedQuery | None
    ) -> Found:
        request = plan.request
        scope = Scope(request.tenant_id, request.candidates, request.asset_id)
        failures = encoded.failures if encoded is not None else {}
        found = Found()
        for axis in plan.intent.axes:
            vector = vectors.get(axis)
            outcome = self._ask(axis, vector, plan, scope, failures.get(axis))
            match outcome:
                case Ranking():
                    found.rankings[axis] = outcome
                    if vector is not None:
                        found.vectors[axis] = vector
                case Lost():
                    found.lost[axis] = outcome
        return found

    def _ask(
        self,
        axis: Axis,
        vector: AxisVector | None,
        plan: Plan,
        scope: Scope,
        failure: str | None,
    ) -> Ranking | Lost:
        elapsed = (self._clock() - plan.started) * 1000.0
        if elapsed > self._config.time_ceiling_ms:
            ceiling = self._config.time_ceiling_ms
            return Lost(
                axis, LostReason.TIMEOUT, f"the time ceiling of {ceiling:.0f} ms was reached"
            )
        if lost := self._candidates.gate(axis, vector):
            broken = axis in self.reader.broken
            absent = failure and vector is None and not broken
            return Lost(axis, LostReason.MODEL_FAILED, failure) if failure and absent else lost
        if axis is Axis.FTS:
            return self._candidates.by_text(plan.text, scope)
        assert vector is not None
        return self._candidates.by_vector(axis, vector, scope)

    def _check_required(self, plan: Plan, found: Found) -> None:
        for axis in plan.request.require:
            if axis in found.rankings:
                continue
            raise AxisUnavailable(
                f"required axis {axis.value} cannot answer: {found.lost[axis].reason}",
                f"axis.{axis.value}",
            )
        if not found.rankings:
            reasons = "; ".join(f"{axis.value}: {lost.reason}" for axis, lost in found.lost.items())
            raise AxisUnavailable(f"no axis can answer this query: {reasons}", "axis.none")

    def _check_cursor(self, cursor: Cursor, request: SearchRequest) -> None:
        if cursor.query != query_digest(request):
            raise QueryError(
                "the cursor belongs to another query", "query.cursor", "ask again without a cursor"
            )
        same_snapshot = cursor.snapshot_id == self.reader.ref.snapshot_id
        if not same_snapshot or cursor.ranking != self.ranking.digest()[:16]:
            raise _stale("another snapshot or ranking profile")

    def _check_page(self, plan: Plan, found: Found) -> None:
        if plan.cursor is not None and plan.cursor.axes != _answering(found):
            raise _stale("other axes")

    def _next_cursor(self, plan: Plan, found: Found, offset: int, total: int) -> str | None:
        if offset >= total or offset < 1:
            return None
        return Cursor(
            snapshot_id=self.reader.ref.snapshot_id,
            query=query_digest(plan.request),
            ranking=self.ranking.digest()[:16],
            axes=_answering(found),
            offset=offset,
        ).seal()

    def _fingerprints(self, found: Found) -> dict[Axis, str]:
        stored = self.reader.ref.transforms
        return {axis: ",".join(stored.get(axis, ())) for axis in found.rankings}

    def _hits(
        self, plan: Plan, found: Found, page: tuple[Fused[Axis], ...], offset: int
    ) -> tuple[Hit, ...]:
        tenant = plan.request.tenant_id
        asset_ids = [one.asset_id for one in page]
        rows = {row.asset_id: row for row in self.reader.rows(tenant, asset_ids)}
        places = self._places(plan, found, asset_ids)
        return tuple(
            self._hit(plan, rows[one.asset_id], one, places[one.asset_id], rank)
            for rank, one in enumerate(page, start=offset + 1)
        )

    def _places(
        self, plan: Plan, found: Found, asset_ids: list[str]
    ) -> dict[str, dict[Axis, AxisScore]]:
        """Rank and score of the hits on every axis that answered, also outside its candidates."""
        places: dict[str, dict[Axis, AxisScore]] = {asset_id: {} for asset_id in asset_ids}
        for axis, ranking in found.rankings.items():
            ranked = {a: (rank, s) for rank, (a, s) in enumerate(ranking.scored, start=1)}
            others = [asset_id for asset_id in asset_ids if asset_id not in ranked]
            if axis is Axis.FTS:
                more = self._candidates.text_scores(plan.text, plan.request.tenant_id, others)
            else:
                vector = found.vectors[axis]
                more = self._candidates.vector_scores(axis, vector, plan.request.tenant_id, others)
            for asset_id in asset_ids:
                if asset_id in ranked:
                    rank, score = ranked[asset_id]
                    places[asset_id][axis] = AxisScore(rank=rank, score=score)
                elif asset_id in more:
                    places[asset_id][axis] = AxisScore(rank=None, score=more[asset_id])
        return places

    def _hit(
        self,
        plan: Plan,
        row: SnapshotRow,
        fused: Fused[Axis],
        axes: dict[Axis, AxisScore],
        rank: int,
    ) -> Hit:
        hit = Hit(
            rank=rank,
            asset_id=fused.asset_id,
            score=fused.score,
            uris=row.uris,
            axes=axes,
            caption=row.caption,
            caption_composed=row.caption_composed,
            tags=row.tags,
            width=row.width,
            height=row.height,
        )
        if not plan.request.explain:
            return hit
        return hit.model_copy(
            update={
                "contributions": contributions_of(fused),
                "evidence": evidence_of(row, axes, plan.text, self._config.evidence_per_hit),
                "why": sentence(row, fused, axes, Asked(plan.text, plan.shown)),
            }
        )


def _answering(found: Found) -> tuple[Axis, ...]:
    return tuple(axis for axis in Axis if axis in found.rankings)


def _degraded(found: Found) -> tuple[Degradation, ...]:
    left = ", ".join(axis.value for axis in _answering(found))
    return tuple(
        Degradation(
            axis=axis,
            code=lost.code,
            reason=lost.reason,
            effect=f"Hits are ranked by {left} only.",
        )
        for axis, lost in found.lost.items()
    )


def _stale(what: str) -> QueryError:
    return QueryError(
        f"the cursor was made with {what}", "query.cursor_stale", "ask again without a cursor"
    )
