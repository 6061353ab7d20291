"""What a worker asks for and where it brings its results, near or far.

The protocol, and the workplace in the worker's own process; `remote` has the one over HTTP. Knows
no stage and no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ecm.contracts.identity import TenantId
from ecm.contracts.quarantine import QuarantineNotice
from ecm.contracts.result import ResultEnvelope
from ecm.delivery.desk import Desk
from ecm.delivery.receipts import Receipt, WorkerRun
from ecm.ledger.ledger import Ledger
from ecm.ledger.lookahead import Runnable
from ecm.ledger.records import ClaimedTask, Lease
from ecm.stages.prepare import AdmitDecision, AdmitRequest


@dataclass(frozen=True)
class Terms:
    """Whose tasks a worker does (None: whoever's key it is), by which transforms, for how long.

    `vision_transform` and `ocr_transform` are the fingerprints whose texts its meaning vectors
    embed.
    """

    tenant_id: TenantId | None
    transforms: tuple[str, ...]
    vision_transform: str | None
    lease_seconds: float
    ocr_transform: str | None = None


class Workplace(Protocol):
    """Every method may raise TransientError: try again. Times are the other side's."""

    def lease(self, holder: str) -> Lease:
        """A new lease for an incarnation."""
        ...

    def claim(self, lease: Lease, max_resources: int) -> tuple[ClaimedTask, ...]:
        """Claim a block and say that work on it has begun. Raises LeaseLost."""
        ...

    def heartbeat(self, lease: Lease, progress: int) -> bool:
        """Prolong the lease; False when it is lost."""
        ...

    def release(self, lease: Lease) -> None:
        """Give back the lease and what is claimed under it."""
        ...

    def runnable(self) -> Runnable:
        """What is left to claim on these terms."""
        ...

    def admit(self, requests: Sequence[AdmitRequest]) -> list[AdmitDecision]:
        """Which of the bytes are to be analysed."""
        ...

    def deliver(self, envelopes: Sequence[ResultEnvelope]) -> Receipt:
        """Returns when the results are committed or refused. May be repeated."""
        ...

    def record(self, run: WorkerRun) -> None:
        """Put the worker's run on record. May be repeated."""
        ...

    def quarantine(self, notice: QuarantineNotice) -> None:
        """Make a notice durable. May be repeated."""
        ...


class LeasedWork:
    """Leases of a ledger, on one worker's terms: what every workplace does alike."""

    def __init__(self, ledger: Ledger, terms: Terms) -> None:
        self._ledger = ledger
        self._terms = terms

    def lease(self, holder: str) -> Lease:
        return self._ledger.acquire_lease(holder, self._ledger.now(), self._terms.lease_seconds)

    def claim(self, lease: Lease, max_resources: int) -> tuple[ClaimedTask, ...]:
        claimed = self._ledger.claim(
            lease,
            self._terms.transforms,
            tenant_id=self._terms.tenant_id,
            job_id=None,
            max_resources=max_resources,
            now=self._ledger.now(),
        )
        if claimed:
            self._ledger.start(lease, self._ledger.now())
        return claimed

    def heartbeat(self, lease: Lease, progress: int) -> bool:
        now = self._ledger.now()
        return self._ledger.heartbeat(lease, now, self._terms.lease_seconds, progress)

    def release(self, lease: Lease) -> None:
        self._ledger.release_lease(lease, self._ledger.now())

    def runnable(self) -> Runnable:
        terms = self._terms
        return self._ledger.runnable(terms.tenant_id, terms.transforms, self._ledger.now())


class LocalWorkplace(LeasedWork):
    """Ledger and desk in the process of the worker, which works for one tenant."""

    def __init__(self, ledger: Ledger, desk: Desk, terms: Terms, tenant_id: TenantId) -> None:
        super().__init__(ledger, terms)
        self._tenant_id = tenant_id
        self._desk = desk

    def admit(self, requests: Sequence[AdmitRequest]) -> list[AdmitDecision]:
        return self._desk.admit(requests, self._terms.vision_transform, self._terms.ocr_transform)

    def deliver(self, envelopes: Sequence[ResultEnvelope]) -> Receipt:
        return self._desk.deliver(envelopes).result()

    def record(self, run: WorkerRun) -> None:
        self._desk.record(run, self._tenant_id)

    def quarantine(self, notice: QuarantineNotice) -> None:
        self._desk.quarantine(notice)
