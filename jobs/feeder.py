"""The feeder: the one place of a run that claims tasks, prolongs their lease and admits bytes.

Keeps one future per read task, so that a read that Ray executes again gets the same block, and a
credit
window, so that leases never run further ahead of commits than the profile allows. Commits nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import ray

from ecm.contracts.identity import evidence_key
from ecm.contracts.task import TaskType
from ecm.evidence.config import EvidenceConfig
from ecm.ledger.config import LedgerConfig
from ecm.ledger.ledger import open_ledger
from ecm.ledger.records import ClaimedTask
from ecm.models.meaning import meaning_text
from ecm.stages.columns import CLAIM_SCHEMA
from ecm.stages.prepare import AdmitDecision, AdmitRequest

if TYPE_CHECKING:
    from ecm.evidence.store import EvidenceStore

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class FeederSettings:
    """What may be claimed: by whom, for which transforms, how much at once and how far ahead."""

    ledger: LedgerConfig
    evidence: EvidenceConfig
    holder: str
    tenant_id: str
    transforms: tuple[str, ...]
    vision_transform: str | None
    block_images: int
    window_tasks: int


class Feeder:
    """Ray actor, `num_cpus=0`, on the driver's node; asynchronous so that waiting reads cost
    nothing.
    """

    def __init__(self, settings: FeederSettings) -> None:
        self._settings = settings
        self._ledger = open_ledger(settings.ledger)
        self._lease = self._ledger.acquire_lease(
            settings.holder, time.time(), settings.ledger.lease_seconds
        )
        self._blocks: dict[int, asyncio.Future[pa.Table]] = {}
        self._turn = asyncio.Lock()
        self._leased = 0
        self._settled = 0
        self._in_flight: dict[str, str] = {}
        self._store: EvidenceStore | None = None
        self._beating: asyncio.Task[None] | None = None

    async def take(self, number: int) -> pa.Table:
        """Block `number`: CLAIM_SCHEMA rows, empty when the ledger has nothing left to claim."""
        if self._beating is None:
            self._beating = asyncio.create_task(self._beat())
        if number not in self._blocks:
            self._blocks[number] = asyncio.ensure_future(self._claim())
        return await asyncio.shield(self._blocks[number])

    async def admit(self, requests: Sequence[AdmitRequest]) -> list[AdmitDecision]:
        """Link tasks whose bytes were already analysed by their transform, or are right now."""
        keys = {
            task_id: evidence_key(request.tenant_id, request.content_hash, kind.value, transform)
            for request in requests
            for task_id, kind, transform in request.tasks
        }
        done = self._ledger.done_evidence(tuple(set(keys.values())))
        linked = [self._linked(request, keys, done) for request in requests]
        texts = self._stored_texts(requests, linked)
        return [
            AdmitDecision(links, texts.get(request.content_hash))
            for request, links in zip(requests, linked, strict=True)
        ]

    async def settled(self, tasks: int, keys: Sequence[str]) -> None:
        """`tasks` are committed or failed: their credit and evidence keys are free again."""
        self._settled += tasks
        for key in keys:
            self._in_flight.pop(key, None)

    async def stop(self) -> None:
        """Give the lease back; tasks still claimed under it become claimable at once."""
        if self._beating is not None:
            self._beating.cancel()
        self._ledger.release_lease(self._lease, time.time())
        self._ledger.close()

    async def _claim(self) -> pa.Table:
        async with self._turn:
            while self._leased - self._settled >= self._settings.window_tasks:
                await asyncio.sleep(POLL_SECONDS)
            claimed = self._ledger.claim(
                self._lease,
                self._settings.transforms,
                tenant_id=self._settings.tenant_id,
                job_id=None,
                max_resources=self._settings.block_images,
                now=time.time(),
            )
            self._ledger.start(self._lease, time.time())
        block = _block_of(claimed)
        self._leased += len(claimed)
        return block

    async def _beat(self) -> None:
        """Prolong the lease three times in its life; losing it ends the feeder, and so the run."""
        ttl = self._settings.ledger.lease_seconds
        while True:
            await asyncio.sleep(ttl / 3)
            if not self._ledger.heartbeat(self._lease, time.time(), ttl, self._settled):
                ray.actor.exit_actor()

    def _linked(
        self, request: AdmitRequest, keys: dict[str, str], done: frozenset[str]
    ) -> frozenset[str]:
        """Tasks of a request that others have done or are doing; the rest are in flight now."""
        return frozenset(
            task_id
            for task_id, _, _ in request.tasks
            if keys[task_id] in done
            or self._in_flight.setdefault(keys[task_id], task_id) != task_id
        )

    def _stored_texts(
        self, requests: Sequence[AdmitRequest], linked: Sequence[frozenset[str]]
    ) -> dict[str, str]:
        """What vision said earlier, by asset id, where only the meaning vector is to be made."""
        wanted = []
        for request, links in zip(requests, linked, strict=True):
            running = {kind for task_id, kind, _ in request.tasks if task_id not in links}
            if TaskType.MV_EMBED in running and TaskType.VISION not in running:
                wanted.append(request.content_hash)
        if not wanted or self._settings.vision_transform is None:
            return {}
        if self._store is None:
            from ecm.evidence.store import EvidenceStore  # Lance takes seconds; few runs need it.

            self._store = EvidenceStore.open(self._settings.evidence)
        said = self._store.texts_of(
            self._settings.tenant_id, wanted, self._settings.vision_transform
        )
        return {
            asset_id: meaning_text(texts.caption, texts.tags, texts.classification, texts.ocr)
            for asset_id, texts in said.items()
        }


def _block_of(claimed: Sequence[ClaimedTask]) -> pa.Table:
    rows: dict[str, dict[str, Any]] = {}
    for task in claimed:
        row = rows.setdefault(
            task.resource_key,
            {
                "resource_key": task.resource_key,
                "tenant_id": task.tenant_id,
                "uri": task.identity.uri,
                "size": task.identity.size,
                "mtime_ns": task.identity.mtime_ns,
                "etag": task.identity.etag,
                "tasks": [],
            },
        )
        row["tasks"].append(
            {
                "task_id": task.task_id,
                "task_type": task.task_type.value,
                "transform": task.transform,
                "attempt": task.attempt,
                "fence": task.fence,
            }
        )
    return pa.Table.from_pylist(list(rows.values()), schema=CLAIM_SCHEMA)
