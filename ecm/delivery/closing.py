"""What is done when work has ended: spooled batches are checked and dropped, jobs are concluded.

Called by whoever holds the right to commit, with nothing under way during a pass. Passes are short,
because results wait for them. Changes no evidence, publishes nothing.
"""

from __future__ import annotations

import logging
import time

from ecm.delivery.concluding import complete_balanced
from ecm.delivery.entries import Entry
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.ledger.ledger import Ledger
from ecm.ledger.records import Right
from ecm.ledger.states import COMMITTED, JobState

LATEST_JOBS = 1000
"""Jobs looked at; older ones that never ended are for `ecm audit`."""

log = logging.getLogger("ecm.desk")


class Books:
    """One closing of the books: every batch and every job is looked at once, in several passes."""

    def __init__(self, ledger: Ledger, store: EvidenceStore, spool: Spool) -> None:
        self._ledger = ledger
        self._store = store
        self._spool = spool
        self._kept: set[str] = set()
        jobs = ledger.jobs(LATEST_JOBS)
        self._jobs = [job.record.job_id for job in jobs if job.state is JobState.LISTED]
        self.ended = 0
        """Jobs that came to their end and balance."""

    def close(self, right: Right, seconds: float) -> bool:
        """Drop spooled batches whose evidence is stored, then end jobs that have no work left.

        Stops after the step in which `seconds` have passed; returns whether everything is done.
        While a batch must be kept no job ends. A job that does not balance is logged, and over;
        its tasks are not done. Raises LeaseLost when another has taken `right`, the right to
        commit.
        """
        until = time.monotonic() + seconds
        for batch_id in self._spool.list():
            if batch_id in self._kept:
                continue
            if _is_stored(self._ledger, self._store, self._spool, batch_id):
                self._ledger.confirm_right(right)
                self._spool.drop(batch_id)
            else:
                self._kept.add(batch_id)
            if time.monotonic() >= until:
                return False
        if self._kept:
            return True
        while self._jobs:
            job_id = self._jobs.pop()
            if not self._ledger.open_tasks(job_id):
                self._end(job_id)
            if time.monotonic() >= until:
                return not self._jobs
        return True

    def _end(self, job_id: str) -> None:
        audit = complete_balanced(self._ledger, self._store, job_id)
        if audit.balanced:
            self.ended += 1
        else:
            log.error("job %s does not balance: %s", job_id, "; ".join(audit.problems))
        self._ledger.finish_job(job_id, self._ledger.now())


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
