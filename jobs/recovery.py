"""Put a store and its ledger right after a crash, before anything new is claimed.

Every batch that reached the spool is committed from there; nothing of it is computed again. Knows
the commit protocol; runs no model.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from ecm.ledger.ledger import Ledger

from ecm.contracts.identity import evidence_key
from ecm.contracts.result import ResultEnvelope
from ecm.errors import StoreCorrupt
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.spool import Spool
from ecm.ledger.records import Failure, Reported
from jobs.incarnation import is_proven_dead


@dataclass(frozen=True)
class Recovered:
    """Batches finished from the spool, batches given back for want of one, tasks of dead holders
    freed.
    """

    from_spool: int
    given_back: int
    freed: int


def release_dead_right(ledger: Ledger, name: str) -> None:
    """Drop the right `name` when its holder is proven dead; otherwise it must expire by itself."""
    holder = ledger.right_holder(name)
    if holder is not None and is_proven_dead(holder):
        ledger.release_right(name, holder, time.time())


def recover(ledger: Ledger, committer: EvidenceCommitter, spool: Spool) -> Recovered:
    """Resolve every spooled or reported batch, then free the leases of dead holders.

    The order matters: spooled results are reported under the fences of their old leases, which are
    still good until somebody takes the tasks anew. The caller holds the right to commit.
    """
    reported_tasks = {batch.batch_id: batch.task_ids for batch in ledger.unresolved_batches()}
    spooled = set(spool.list())
    finished = [b for b in sorted(spooled) if _finish(ledger, committer, spool, b, reported_tasks)]
    lost = sorted(set(reported_tasks) - set(finished))
    for batch_id in lost:
        committer.delete_batch(batch_id)
        ledger.requeue_batch(batch_id, time.time())
    now = time.time()
    freed = ledger.rescue_expired(now) + _free(ledger, ledger.live_holders(now), now)
    return Recovered(len(finished), len(lost), freed)


def _finish(
    ledger: Ledger,
    committer: EvidenceCommitter,
    spool: Spool,
    batch_id: str,
    unresolved: dict[str, frozenset[str]],
) -> bool:
    """Report and append one spooled batch as far as that has not happened; False if it is
    unreadable.
    """
    try:
        spooled = spool.read(batch_id)
    except StoreCorrupt:
        spool.drop(batch_id)
        return False
    now = time.time()
    ledger.report(batch_id, [reported(envelope) for envelope in spooled.envelopes], now)
    for batch in ledger.unresolved_batches():
        if batch.batch_id == batch_id:
            unresolved[batch_id] = batch.task_ids
    owned = unresolved.get(batch_id, frozenset())
    kept = [envelope for envelope in spooled.envelopes if envelope.task_id in owned]
    if kept:
        versions = committer.append(batch_id, kept, spooled.base_versions)
        ledger.persist(batch_id, versions, time.time())
    return True


def _free(ledger: Ledger, holders: Iterable[str], now: float) -> int:
    return sum(ledger.expire_holder(holder, now) for holder in holders if is_proven_dead(holder))


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
