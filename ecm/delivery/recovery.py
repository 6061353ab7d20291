"""Put a store and its ledger right after a crash, before anything new is claimed.

Every batch that reached the spool is committed from there; nothing of it is computed again. Knows
the commit protocol; runs no model.
"""

from __future__ import annotations

from dataclasses import dataclass

from ecm.crashpoints import crash_point
from ecm.delivery.incarnation import is_proven_dead
from ecm.delivery.reporting import report_batch
from ecm.errors import StoreCorrupt
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.spool import Spool
from ecm.ledger.ledger import Ledger
from ecm.ledger.records import Right


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


def recover(ledger: Ledger, committer: EvidenceCommitter, spool: Spool, right: Right) -> Recovered:
    """Resolve every spooled or reported batch, then free the leases of dead holders.

    The order matters: spooled results are reported under the fences of their old leases, which are
    still good until somebody takes the tasks anew. `right` is the caller's right to commit; raises
    LeaseLost when another has taken it.
    """
    crash_point("recover.begun")
    finished = 0
    for batch_id in spool.list():
        finished += _finish(ledger, committer, spool, batch_id, right)
        crash_point("recover.batch")
    lost = ledger.unresolved_batches()
    for batch in lost:
        committer.delete_batch(batch.batch_id, lambda: ledger.confirm_right(right))
        crash_point("recover.rows_deleted")
        ledger.requeue_batch(batch.batch_id, ledger.now(), right)
    return Recovered(finished, len(lost), free_the_dead(ledger))


def free_the_dead(ledger: Ledger) -> int:
    """Rescue tasks of expired leases and of holders proven dead; how many."""
    now = ledger.now()
    dead = [h.holder for h in ledger.live_holders(now) if is_proven_dead(h.holder)]
    return ledger.rescue_expired(now) + sum(ledger.expire_holder(h, now) for h in dead)


def _finish(
    ledger: Ledger, committer: EvidenceCommitter, spool: Spool, batch_id: str, right: Right
) -> bool:
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
    taken = report_batch(ledger, batch_id, spooled.envelopes, right)
    kept = [e for e in spooled.envelopes if e.task_id in taken.accepted]
    if not kept:
        return False
    versions = committer.append(
        batch_id, kept, spooled.base_versions, lambda: ledger.confirm_right(right)
    )
    return ledger.persist(batch_id, versions, ledger.now(), right) > 0
