"""Put a store and its ledger right after a crash, before anything new is claimed.

Every batch that reached the spool is committed from there; nothing of it is computed again. Knows
the commit protocol; runs no model.
"""

from __future__ import annotations

from collections.abc import Sequence
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

    The order matters. Rows of batches that are lost go first: a spooled batch may say the same of
    the same bytes, and what a table has it leaves out. Spooled results are reported under the
    fences of their old leases, which are still good until somebody takes the tasks anew. `right` is
    the caller's right to commit; raises LeaseLost when another has taken it.
    """
    crash_point("recover.begun")
    spooled = spool.list()
    unresolved = [batch.batch_id for batch in ledger.unresolved_batches()]
    lost = [b for b in unresolved if b not in spooled or _is_torn(spool, b)]
    _give_back(ledger, committer, lost, right)
    finished = 0
    for batch_id in spooled:
        finished += _finish(ledger, committer, spool, batch_id, right)
        crash_point("recover.batch")
    left = [batch.batch_id for batch in ledger.unresolved_batches()]
    _give_back(ledger, committer, left, right)
    return Recovered(finished, len(lost) + len(left), free_the_dead(ledger))


def _give_back(
    ledger: Ledger, committer: EvidenceCommitter, batch_ids: Sequence[str], right: Right
) -> None:
    """Delete what batches without a spool have stored; their tasks are done again."""
    for batch_id in batch_ids:
        committer.delete_batch(batch_id, lambda: ledger.confirm_right(right))
        crash_point("recover.rows_deleted")
        ledger.requeue_batch(batch_id, ledger.now(), right)


def _is_torn(spool: Spool, batch_id: str) -> bool:
    try:
        return spool.read(batch_id) is None
    except StoreCorrupt:
        return True


def free_the_dead(ledger: Ledger) -> int:
    """Rescue tasks of expired leases and of holders proven dead; how many."""
    now = ledger.now()
    dead = [h.holder for h in ledger.live_holders(now) if is_proven_dead(h.holder)]
    return ledger.rescue_expired(now) + sum(ledger.expire_holder(h, now) for h in dead)


def _finish(
    ledger: Ledger, committer: EvidenceCommitter, spool: Spool, batch_id: str, right: Right
) -> bool:
    """Report, append and persist one spooled batch as far as that has not happened yet.

    A torn file was not reported, since it is synced before: its tasks are still to be done.
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
    versions = committer.append(batch_id, kept, lambda: ledger.confirm_right(right))
    return ledger.persist(batch_id, versions, ledger.now(), right) > 0
