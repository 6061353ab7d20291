"""The feeder: the one place of a run that claims tasks, prolongs their lease and admits bytes.

Keeps one future per read task, so that a read that Ray executes again gets the same block, and a
credit
window, so that leases never run further ahead of commits than the profile allows. Commits nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import ray

from ecm.contracts.quarantine import QuarantineNotice
from ecm.crashpoints import arm
from ecm.delivery.admission import Admission
from ecm.delivery.claimed import block_of
from ecm.errors import StoreUnavailable, TransientError
from ecm.evidence.config import EvidenceConfig
from ecm.ledger.config import LedgerConfig
from ecm.ledger.ledger import open_ledger
from ecm.stages.prepare import AdmitDecision, AdmitRequest

log = logging.getLogger("ecm.feeder")

POLL_SECONDS = 0.05
TELLING = 8
"""Times a notice is tried to be stored, with a wait between that doubles from POLL_SECONDS."""


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
    ocr_transform: str | None = None


class Feeder:
    """Ray actor, `num_cpus=0`, on the driver's node; asynchronous so that waiting reads cost
    nothing.
    """

    def __init__(self, settings: FeederSettings) -> None:
        arm(os.environ)
        self._settings = settings
        self._ledger = open_ledger(settings.ledger)
        self._lease = self._ledger.acquire_lease(
            settings.holder, self._ledger.now(), settings.ledger.lease_seconds
        )
        self._blocks: dict[int, asyncio.Future[pa.Table]] = {}
        self._turn = asyncio.Lock()
        self._leased = 0
        self._settled = 0
        self._admission = Admission(self._ledger, settings.evidence)
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
        known = self._settings.vision_transform, self._settings.ocr_transform
        return self._admission.admit(requests, *known)

    async def settled(self, tasks: int, ended: Sequence[tuple[str, str]]) -> None:
        """`tasks` are committed or failed: their credit and (evidence key, task id) are free."""
        self._settled += tasks
        self._admission.settled(ended)

    async def quarantine(self, notice: QuarantineNotice) -> str:
        """Make a notice durable, for actors that may have no way to the store; its id.

        Raises StoreUnavailable when it cannot be done.
        """
        from ecm.delivery.quarantining import tell  # Lance takes seconds; few runs need it.

        for attempt in range(TELLING):
            try:
                return tell(self._settings.evidence, notice)
            except StoreUnavailable:
                if attempt == TELLING - 1:
                    raise
                await asyncio.sleep(POLL_SECONDS * 2**attempt)
        raise AssertionError("unreachable")

    async def stop(self) -> None:
        """Give the lease back; tasks still claimed under it become claimable at once."""
        if self._beating is not None:
            self._beating.cancel()
        self._ledger.release_lease(self._lease, self._ledger.now())
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
                now=self._ledger.now(),
            )
            self._ledger.start(self._lease, self._ledger.now())
        block = block_of(claimed)
        self._leased += len(claimed)
        return block

    async def _beat(self) -> None:
        """Prolong the lease three times in its life; losing it ends the feeder, and so the run.

        A ledger that is away for a moment costs one beat: this task must outlive it, since nobody
        would notice that the lease is not prolonged any more.
        """
        ttl = self._settings.ledger.lease_seconds
        while True:
            await asyncio.sleep(ttl / 3)
            try:
                held = self._ledger.heartbeat(self._lease, self._ledger.now(), ttl, self._settled)
            except TransientError as error:
                log.warning("a heartbeat failed: %s", error)
                continue
            if not held:
                ray.actor.exit_actor()
