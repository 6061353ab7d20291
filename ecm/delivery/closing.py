"""What is done when work has ended: spooled batches are checked and dropped, jobs are concluded.

Called by whoever holds the right to commit, with nothing under way. Changes no evidence.
"""

from __future__ import annotations

import logging

from ecm.delivery.concluding import conclude_job
from ecm.delivery.entries import Entry
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.ledger.ledger import Ledger
from ecm.ledger.records import Right
from ecm.ledger.states import COMMITTED, JobState

LATEST_JOBS = 1000
"""Jobs looked at; older ones that never ended are for `ecm audit`."""

log = logging.getLogger("ecm.desk")


def close_books(ledger: Ledger, store: EvidenceStore, spool: Spool, right: Right) -> int:
    """Drop every spooled batch whose evidence is stored; end the jobs that have nothing left to do.

    Returns the number of jobs ended. What does not balance stays as it is, and is logged. Raises
    LeaseLost when another has taken `right`, the right to commit.
    """
    stored = [batch_id for batch_id in spool.list() if _is_stored(ledger, store, spool, batch_id)]
    ledger.confirm_right(right)
    for batch_id in stored:
        spool.drop(batch_id)
    if spool.list():
        return 0
    return sum(
        _ended(ledger, store, spool, job.record.job_id, right)
        for job in ledger.jobs(LATEST_JOBS)
        if job.state is JobState.LISTED and not ledger.open_tasks(job.record.job_id)
    )


def _is_stored(ledger: Ledger, store: EvidenceStore, spool: Spool, batch_id: str) -> bool:
    """Whether all evidence of a spooled batch that the ledger took is in the store."""
    spooled = spool.read(batch_id)
    if spooled is None:
        return True
    entries = [Entry.of(envelope) for envelope in spooled.envelopes if not envelope.linked]
    standing = ledger.standing([entry.attempt.task_id for entry in entries])
    keys = {
        entry.key
        for entry in entries
        if (stands := standing.get(entry.attempt.task_id)) is not None
        and stands.fence == entry.attempt.fence
        and stands.state in COMMITTED
        and entry.key
    }
    missing = keys - store.evidence_keys_present(keys)
    if missing:
        log.error("batch %s is persisted but %d evidence keys are missing", batch_id, len(missing))
    return not missing


def _ended(ledger: Ledger, store: EvidenceStore, spool: Spool, job_id: str, right: Right) -> bool:
    audit = conclude_job(ledger, store, spool, job_id, right)
    if not audit.balanced:
        log.error("job %s does not balance: %s", job_id, "; ".join(audit.problems))
    return audit.balanced
