"""The deployment that holds the snapshot: brings a search through its stages, shows assets.

Knows the order of the stages and how long each may take; follows the published snapshot and
switches without failing a request. Knows no HTTP and no model.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import Literal, TypeVar

from pydantic import Field
from ray import serve
from ray.serve.handle import DeploymentHandle

from ecm.config import Profile
from ecm.contracts.identity import Contract
from ecm.contracts.search import Axis, SearchRequest, SearchResponse
from ecm.errors import EcmError, QueryError, SnapshotNotFound
from ecm.evidence.history import asset_history, find_asset
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.storage import open_storage
from ecm.evidence.story import AssetHistory
from ecm.opening import model_notes
from ecm.search.asking import Begun
from ecm.search.assets import AssetView, asset_view
from ecm.search.caching import LruCache
from ecm.search.encoders import EncodedQuery
from ecm.search.engine import SearchEngine
from ecm.search.kept_encodings import KeptEncodings
from ecm.search.ordered import Gathered, NotReranked
from ecm.search.plan import Plan
from ecm.search.profile import RankingProfile
from ecm.search.rerank import Reranked
from serve.experiments import ArmAnswer, Drawn, FollowedExperiments
from serve.exposition import Told, told
from serve.followed import Followed
from serve.meters import SearchMeters
from serve.reach import Late, Unreachable
from serve.stages import EncoderStage, RerankStage
from serve.tracing import open_tracer
from serve.trying import Trying

Answer = TypeVar("Answer")

ENCODE_SHARE = 0.6
"""Of the time that a search has left: the rest is for the axes that need no model."""

LEAST_MS = 0.001
"""Of a search whose time is over: it is answered with what there is, which may be nothing."""

NO_MODEL = "no query model speaks of the snapshot's transform"


class SnapshotView(Contract):
    """The snapshot that answers, as one tenant sees it."""

    snapshot_id: str
    created_at: float = Field(description="Unix seconds (UTC)")
    assets: int = Field(description="of this tenant")
    transforms: dict[Axis, tuple[str, ...]]
    dims: dict[Axis, int]
    broken: dict[Axis, str] = Field(description="axes of the snapshot that cannot answer, and why")
    ranking_profile: str


class Readiness(Contract):
    """The service answers; on the axes in `degraded` it will not, and why."""

    status: Literal["ready"] = "ready"
    snapshot_id: str
    degraded: dict[Axis, str] = Field(default_factory=dict)
    trouble: str = Field(
        default="", description="why what is published is not what answers, or is not pinned"
    )


@serve.deployment
class Candidates:
    """Answers on the published snapshot; starts before there is one and then says so."""

    def __init__(
        self, profile: Profile, encoder: DeploymentHandle, reranker: DeploymentHandle
    ) -> None:
        self._closing = ExitStack()
        served = profile.serve
        self._seconds = served.request_timeout_seconds
        # Its own, as many as there may be searches: who shows an asset does not wait for these.
        self._threads = self._closing.enter_context(
            ThreadPoolExecutor(served.size_of("candidates").ongoing, "search")
        )
        self._vectors = LruCache[EncodedQuery](
            served.embedding_cache_bytes, served.embedding_cache_seconds
        )
        self._encoder = EncoderStage(encoder, KeptEncodings(self._vectors))
        self._reranker = RerankStage(reranker)
        self._complete = False
        self._meters = SearchMeters()
        self._models = functools.cache(
            lambda: {mark: str(note) for mark, note in model_notes(profile).items()}
        )
        self._tracer = open_tracer(served.otlp_endpoint)
        self._closing.callback(self._tracer.close)
        self._followed = Followed(profile)
        self._closing.callback(self._followed.close)
        self._experiments = FollowedExperiments(
            lambda: open_storage(profile.evidence), served.snapshot_poll_seconds
        )
        self._trying = Trying(self._experiments, self)
        self._tries = served.experiments
        if self._tries:
            self._experiments.refresh()
            self._closing.callback(self._experiments.close)

    def __del__(self) -> None:
        """Called by Serve when a replica ends in order, its requests answered."""
        self._closing.close()

    async def search(
        self,
        request: SearchRequest,
        asked_at: float,
        request_id: str,
        drawn: Drawn | None = None,
    ) -> bytes | ArmAnswer:
        """The SearchResponse as JSON, and by which arm where one was `drawn`; raises as
        `SearchEngine.search` does.

        What it has waited since `asked_at` (Unix seconds of who asks: clocks of a cluster are kept
        together) is taken from its time. Late when nobody waits for it any more.
        """
        self._followed.follow()
        try:
            waited = max(0.0, time.time() - asked_at)
            return await self._search(request, waited, request_id, drawn)
        except EcmError as error:
            self._meters.failed(error.code)
            raise

    async def _search(
        self, request: SearchRequest, waited: float, request_id: str, drawn: Drawn | None
    ) -> bytes | ArmAnswer:
        if waited > self._seconds:
            raise Late("the search waited for longer than it may take")
        engine = self._followed.engines.engine_for(request)
        left_ms = (request.timeout_ms or self._seconds * 1000.0) - waited * 1000.0
        bounded = request.model_copy(update={"timeout_ms": max(LEAST_MS, left_ms)})
        if drawn is not None:
            return await self._tried(engine, bounded, request_id, drawn)
        steps = await self._stages(engine, bounded, None)
        return await self.in_thread(self._answer, engine, *steps, request_id)

    async def _tried(
        self, engine: SearchEngine, request: SearchRequest, request_id: str, drawn: Drawn
    ) -> ArmAnswer:
        answer, gathered, counted = await self._trying.answer(engine, request, drawn)
        body = await self.in_thread(self._told, answer, gathered, request_id)
        return replace(counted, body=body)

    async def found(
        self, engine: SearchEngine, request: SearchRequest, ranking: RankingProfile | None = None
    ) -> tuple[SearchResponse, Gathered]:
        """The answer of an engine, reranked by `ranking` (None: the one in force)."""
        plan, gathered, reranked = await self._stages(engine, request, ranking)
        return await self.in_thread(engine.answer, plan, gathered, reranked), gathered

    async def _stages(
        self, engine: SearchEngine, request: SearchRequest, ranking: RankingProfile | None
    ) -> tuple[Plan, Gathered, Reranked | NotReranked | None]:
        plan, begun = await self.in_thread(_begun, engine, request)
        encoded = await self.encoded(engine, plan)
        gathered = await self.in_thread(engine.gather, plan, encoded, begun)
        return plan, gathered, await self.reranked(plan, gathered, ranking)

    async def encoded(self, engine: SearchEngine, plan: Plan) -> list[EncodedQuery]:
        """What a plan needs encoded, in its order."""
        if not plan.encodings:
            return []
        seconds = (plan.deadline - time.perf_counter()) * ENCODE_SHARE
        reached = engine.reader.ref.transforms
        return await self._encoder.encode(plan.encodings, reached, seconds)

    async def in_thread(self, work: Callable[..., Answer], *given: object) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *given)

    async def reranked(
        self, plan: Plan, gathered: Gathered, ranking: RankingProfile | None = None
    ) -> Reranked | NotReranked | None:
        """A later page is ranked as the first one was, so it is waited for until the deadline."""
        if gathered.rerank is None:
            return None
        seconds = gathered.budget_ms / 1000.0
        if plan.cursor is not None:
            seconds = max(seconds, plan.deadline - time.perf_counter())
        with gathered.laps.lap("rerank"):
            return await self._reranker.rerank(gathered.rerank, seconds, ranking)

    def _answer(
        self,
        engine: SearchEngine,
        plan: Plan,
        gathered: Gathered,
        reranked: Reranked | NotReranked | None,
        request_id: str,
    ) -> bytes:
        return self._told(engine.answer(plan, gathered, reranked), gathered, request_id)

    def _told(self, answer: SearchResponse, gathered: Gathered, request_id: str) -> bytes:
        """Made into text here: who asked for it only passes it on."""
        stages = gathered.laps.milliseconds
        self._meters.answered(answer, stages)
        self._tracer.searched(request_id, time.time(), answer.took_ms, stages)
        return answer.model_dump_json().encode()

    async def asset(self, tenant_id: str, asset_id: str) -> AssetView:
        """An asset with all its evidence. Raises QueryError `query.asset_unknown`."""
        self._followed.follow()
        reader = self._followed.engines.current().reader
        store = self._followed.store()
        return await asyncio.to_thread(asset_view, store, reader, tenant_id, asset_id)

    async def history(self, tenant_id: str, name: str) -> AssetHistory:
        """The story of an asset, shown or not; `name` may be the start of its id.

        Raises QueryError `query.asset_unknown`, `query.asset_ambiguous`.
        """
        return await asyncio.to_thread(self._story_of, tenant_id, name)

    async def thumbnail(self, tenant_id: str, asset_id: str) -> bytes:
        """The small JPEG of an asset. Raises QueryError `query.asset_unknown`."""
        self._followed.follow()
        reader = self._followed.engines.current().reader
        found = await asyncio.to_thread(reader.thumbnail, tenant_id, asset_id)
        if found is None:
            raise QueryError(f"no thumbnail of asset {asset_id}", "query.asset_unknown")
        return found

    async def snapshot(self, tenant_id: str) -> SnapshotView:
        """The snapshot that answers now. Raises SnapshotNotFound."""
        self._followed.follow()
        reader = self._followed.engines.current().reader
        ref = reader.ref
        return SnapshotView(
            snapshot_id=ref.snapshot_id,
            created_at=ref.created_at,
            assets=ref.tenants.get(tenant_id, 0),
            transforms=ref.transforms,
            dims=ref.dims,
            broken=dict(reader.broken),
            ranking_profile=self._followed.ranking.version,
        )

    async def ready(self) -> Readiness:
        """Which axes a search would have.

        Raises SnapshotNotFound, and Unreachable or Late until the encoder has answered once: a
        service that starts is not ready before its models are there, while one that loses them
        later goes on with words.
        """
        self._followed.follow()
        reader = self._followed.engines.current().reader
        degraded, trouble = dict(reader.broken), [self._followed.trouble]
        if self._tries:
            trouble += [self._experiments.trouble, self._trying.trouble]
        try:
            reached, said = await self._encoder.reaches(), NO_MODEL
            self._complete = True
        except (Unreachable, Late) as error:
            if not self._complete:
                raise
            reached, said = {}, error.message
        try:
            await self._reranker.ready()
        except (Unreachable, Late) as error:
            trouble.append(error.message)
        for axis in reader.ref.dims:
            if reached.get(axis) not in reader.ref.transforms.get(axis, ()):
                degraded.setdefault(axis, said)
        return Readiness(
            snapshot_id=reader.ref.snapshot_id,
            degraded=degraded,
            trouble="; ".join(filter(None, trouble)),
        )

    async def metrics(self) -> Told:
        """What this replica has counted, and its state now."""
        reaches = (self._encoder.reach, self._reranker.reach)
        self._meters.state(self._reader(), self._vectors, reaches)
        return told(self._meters)

    async def alive(self) -> None:
        """Answers while the replica runs."""

    async def check_health(self) -> None:
        """Asked by Serve from time to time: following goes on even when nobody searches."""
        self._followed.follow()
        if self._tries:
            self._experiments.follow()

    def _reader(self) -> SnapshotReader | None:
        try:
            return self._followed.engines.current().reader
        except SnapshotNotFound:
            return None

    def _story_of(self, tenant_id: str, name: str) -> AssetHistory:
        store = self._followed.store()
        return asset_history(store, tenant_id, find_asset(store, tenant_id, name), self._models())


def _begun(engine: SearchEngine, request: SearchRequest) -> tuple[Plan, Begun]:
    """The plan of a request, and what of it needs no encoding, which has been begun."""
    plan = engine.plan(request)
    return plan, engine.begin(plan)
