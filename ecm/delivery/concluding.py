"""The end of a job, in the order that makes a kill harmless: audit, done, spool, over.

Knows neither who listed the job nor who worked on it; publishes nothing.
"""

from __future__ import annotations

from ecm.crashpoints import crash_point
from ecm.delivery.audit import Audit, audit_job
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.ledger.ledger import Ledger


def conclude_job(ledger: Ledger, store: EvidenceStore, spool: Spool, job_id: str) -> Audit:
    """Audit the job; when it balances its tasks are done and the spool is dropped.

    Call it while holding the right to commit, when everything submitted is committed or given
    back. The job is over when no task of it has work before it. Repeatable. Raises as the ledger
    and the store do.
    """
    audit = audit_job(ledger, store, job_id)
    now = ledger.now()
    if audit.balanced:
        crash_point("audit.balanced")
        ledger.complete_job(job_id, now)
        crash_point("audit.completed")
        for batch_id in spool.list():
            spool.drop(batch_id)
            crash_point("audit.dropped")
    if not ledger.open_tasks(job_id):
        ledger.finish_job(job_id, now)
        crash_point("run.finished")
    return audit
