"""Put a store and its ledger right after a crash, before anything new is claimed.

Every batch that reached the spool is committed from there; nothing of it is computed again. Knows
the commit protocol; runs no model.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from ecm.contracts.identity import evidence_key
from ecm.contracts.result import ResultEnvelope
from ecm.delivery.incarnation import is_proven_dead
from ecm.errors import StoreCorrupt
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.spool import Spool
from ecm.ledger.ledger import Ledger
from ecm.ledger.records import Failure, Reported


@dataclass(frozen=True)
class Recovered:
    """Batches finished from the spool, batches given back for want of one, tasks of dead holders
    freed.
    """

    from_spool: int = 0
    given_back: int = 0
    freed: int = 0

    def __str__(self) -> str:
        return (
            f"an earlier run was interrupted: {self.from_spool} batches committed from the spool, "
            f"{self.given_back} given back, {self.freed} tasks freed"
        )


def recover(ledger: Ledger, committer: EvidenceCommitter, spool: Spool) -> Recovered:
    """Resolve every spooled or reported batch, then free the leases of dead holders.

    The order matters: spooled results are reported under the fences of their old leases, which are
    still good until somebody takes the tasks anew. The caller holds the right to commit.
    """
    finished = sum(_finish(ledger, committer, spool, batch_id) for batch_id in spool.list())
    lost = ledger.unresolved_batches()
    for batch in lost:
        committer.delete_batch(batch.batch_id)
        ledger.requeue_batch(batch.batch_id, time.time())
    now = time.time()
    dead = [h.holder for h in ledger.live_holders(now) if is_proven_dead(h.holder)]
    freed = ledger.rescue_expired(now) + sum(ledger.expire_holder(h, now) for h in dead)
    return Recovered(finished, len(lost), freed)


def _finish(ledger: Ledger, committer: EvidenceCommitter, spool: Spool, batch_id: str) -> bool:
    """Report, append and persist one spooled batch as far as that has not happened yet.

    A torn file was never reported, since it is synced before: its tasks are still to be done.
    """
    try:
        spooled = spool.read(batch_id)
    except StoreCorrupt:
        spool.drop(batch_id)
        return False
    if spooled is None:
        return False
    results = [reported(envelope) for envelope in spooled.envelopes]
    outcome = ledger.report(batch_id, results, time.time())
    kept = [e for e in spooled.envelopes if e.task_id in outcome.accepted]
    if not kept:
        return False
    versions = committer.append(batch_id, kept, spooled.base_versions)
    return ledger.persist(batch_id, versions, time.time()) > 0


def reported(envelope: ResultEnvelope) -> Reported:
    """The ledger's view of an envelope that goes to the store."""
    content = envelope.resource_fingerprint.content_hash or ""
    key = evidence_key(envelope.tenant_id, content, envelope.task_type, envelope.transform)
    return Reported(
        task_id=envelope.task_id,
        fence=envelope.fence,
        asset_id=content,
        evidence_key=key,
        linked=envelope.linked,
    )


def failure(envelope: ResultEnvelope) -> Failure:
    """The ledger's view of an envelope that failed."""
    if envelope.error is None:
        raise ValueError("a failed envelope carries its error")
    content = envelope.resource_fingerprint.content_hash
    return Failure(envelope.task_id, envelope.fence, envelope.error, content)
