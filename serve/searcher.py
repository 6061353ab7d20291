"""The deployment that holds the snapshot: plans and answers searches, shows assets.

Follows the published snapshot and switches without failing a request. Knows no HTTP and no model.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from ray import serve
from ray.serve.handle import DeploymentHandle

from ecm.config import Profile
from ecm.contracts.identity import Contract
from ecm.contracts.search import Axis, SearchRequest, SearchResponse
from ecm.delivery.incarnation import Incarnation
from ecm.errors import EcmError, QueryError, TransientError
from ecm.evidence.history import asset_history, find_asset
from ecm.evidence.pins import PinKeeper
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.refs import SnapshotRef, published_ref
from ecm.evidence.snapshot_files import check_sizes
from ecm.evidence.store import EvidenceStore
from ecm.evidence.story import AssetHistory
from ecm.opening import model_notes, search_parts
from ecm.search.assets import AssetView, asset_view
from ecm.search.encoders import EncodedQuery, EncodingRequest
from ecm.search.engine import SearchEngine
from ecm.search.following import Following
from ecm.search.opening import open_ranking
from ecm.search.warming import warm

log = logging.getLogger("ray.serve")

PIN_SECONDS = 120.0
"""A searcher that died keeps its snapshots from collection for so long, or two requests' time."""


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


class _EncodesElsewhere:
    """Stands where the engine expects an encoder: here encoding happens between plan and answer."""

    def encode(self, requests: Sequence[EncodingRequest]) -> list[EncodedQuery]:
        raise TransientError("this engine encodes in another deployment")


@serve.deployment
class Searcher:
    """Answers on the published snapshot; starts before there is one and then says so."""

    def __init__(self, profile: Profile, encoder: DeploymentHandle) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        longest = profile.serve.request_timeout_seconds
        seconds = max(PIN_SECONDS, 2 * longest)
        self._pins = PinKeeper(self._open_store, str(Incarnation.here()), seconds)
        self._encoder = encoder
        self._parts = search_parts(profile)
        self._ranking = open_ranking(self._parts)
        self._poll = profile.serve.snapshot_poll_seconds
        self._models = functools.cache(
            lambda: {mark: str(note) for mark, note in model_notes(profile).items()}
        )
        self._store: EvidenceStore | None = None
        self._following = Following(self._published, self._opened, self._pins)
        self._begun = False
        self._trouble = ""
        self._told = ""
        self._refresh()

    def __del__(self) -> None:
        """Called by Serve when a replica ends in order, its requests answered."""
        for task in self._tasks:
            task.cancel()
        self._pins.release()

    async def search(self, request: SearchRequest) -> SearchResponse:
        """The answer; raises as `SearchEngine.search` does."""
        self._follow()
        engine = self._following.engine_for(request)
        plan = await asyncio.to_thread(engine.plan, request)
        encoded = None
        if plan.encoding is not None:
            encoded = await self._encoder.encode.remote(plan.encoding)
        return await asyncio.to_thread(engine.answer, plan, encoded)

    async def asset(self, tenant_id: str, asset_id: str) -> AssetView:
        """An asset with all its evidence. Raises QueryError `query.asset_unknown`."""
        self._follow()
        reader = self._following.current().reader
        return await asyncio.to_thread(asset_view, self._open_store(), reader, tenant_id, asset_id)

    async def history(self, tenant_id: str, name: str) -> AssetHistory:
        """The story of an asset, shown or not; `name` may be the start of its id.

        Raises QueryError `query.asset_unknown`, `query.asset_ambiguous`.
        """
        return await asyncio.to_thread(self._story_of, tenant_id, name)

    async def thumbnail(self, tenant_id: str, asset_id: str) -> bytes:
        """The small JPEG of an asset. Raises QueryError `query.asset_unknown`."""
        self._follow()
        reader = self._following.current().reader
        found = await asyncio.to_thread(reader.thumbnail, tenant_id, asset_id)
        if found is None:
            raise QueryError(f"no thumbnail of asset {asset_id}", "query.asset_unknown")
        return found

    async def snapshot(self, tenant_id: str) -> SnapshotView:
        """The snapshot that answers now. Raises SnapshotNotFound."""
        self._follow()
        reader = self._following.current().reader
        ref = reader.ref
        return SnapshotView(
            snapshot_id=ref.snapshot_id,
            created_at=ref.created_at,
            assets=ref.tenants.get(tenant_id, 0),
            transforms=ref.transforms,
            dims=ref.dims,
            broken=dict(reader.broken),
            ranking_profile=self._ranking.version,
        )

    async def ready(self) -> Readiness:
        """What is served, and which axes will be missing. Raises SnapshotNotFound."""
        self._follow()
        reader = self._following.current().reader
        reached = await self._encoder.reaches.remote()
        degraded = dict(reader.broken)
        for axis in reader.ref.dims:
            if reached.get(axis) not in reader.ref.transforms.get(axis, ()):
                degraded.setdefault(axis, "no query model speaks of the snapshot's transform")
        return Readiness(
            snapshot_id=reader.ref.snapshot_id,
            degraded=degraded,
            trouble=self._trouble,
        )

    async def check_health(self) -> None:
        """Asked by Serve from time to time: following goes on even when nobody searches."""
        self._follow()

    def _story_of(self, tenant_id: str, name: str) -> AssetHistory:
        store = self._open_store()
        return asset_history(store, tenant_id, find_asset(store, tenant_id, name), self._models())

    def _follow(self) -> None:
        """Start following in this replica's own event loop, unless it runs."""
        if not self._tasks or any(task.done() for task in self._tasks):
            for task in self._tasks:
                task.cancel()
            loop = asyncio.get_running_loop()
            steps = (self._keep_following(), self._keep_pinned())
            self._tasks = [loop.create_task(step) for step in steps]

    async def _keep_following(self) -> None:
        while True:
            await asyncio.sleep(self._poll)
            await asyncio.to_thread(self._refresh)

    async def _keep_pinned(self) -> None:
        """Beside following, since that may be busy opening a snapshot for minutes."""
        while True:
            await asyncio.sleep(PIN_SECONDS / 8)
            await asyncio.to_thread(self._following.renew, time.time())

    def _refresh(self) -> None:
        """Look for a new snapshot; a failure is told once and the present one goes on serving."""
        try:
            if self._following.refresh(time.time()):
                ref = self._following.current().reader.ref
                log.info("serving snapshot %s, %d assets", ref.snapshot_id, ref.assets)
            self._tell("", "")
        except EcmError as error:
            # Readiness is for everybody: it gets the kind of trouble, the log its words and paths.
            self._tell(f"what is published cannot be followed [{error.code}]", str(error))

    def _tell(self, trouble: str, words: str) -> None:
        words = words or self._following.unpinned
        if words and words != self._told:
            log.warning("cannot follow the published snapshot: %s", words)
        self._told = words
        self._trouble = trouble or ("open snapshots are not pinned" if words else "")

    def _open_store(self) -> EvidenceStore:
        if self._store is None:
            self._store = EvidenceStore.open(self._parts.evidence)
        return self._store

    def _published(self) -> SnapshotRef | None:
        return published_ref(self._open_store())

    def _opened(self, ref: SnapshotRef) -> SearchEngine:
        """What is damaged is to be noticed now, while the one before can go on answering."""
        store = self._open_store()
        if store.storage.lance_options is None:  # from afar it is copied, with its sums compared
            check_sizes(store, ref)
        reader = SnapshotReader.open(store, ref)
        if self._parts.search.warm and not self._begun:
            warm(reader, self._parts.evidence)
        self._begun = True
        return SearchEngine(
            reader,
            _EncodesElsewhere(),
            self._ranking,
            self._parts.search,
            exact_rows=self._parts.evidence.exact_search_rows,
        )
