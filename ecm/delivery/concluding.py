"""The end of a job, in the order that makes a kill harmless: audit, done, spool, over.

Jobs whose runs were killed after their work was committed are ended here as well. Knows neither who
listed a job nor who worked on it; publishes nothing.
"""

from __future__ import annotations

from dataclasses import replace

from ecm.crashpoints import crash_point
from ecm.delivery.audit import Audit, audit_job
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.ledger.ledger import Ledger
from ecm.ledger.records import Right
from ecm.ledger.states import JobState


def conclude_job(
    ledger: Ledger, store: EvidenceStore, spool: Spool, job_id: str, right: Right
) -> Audit:
    """Audit the job and all that its tenant left listed; what balances is done.

    `right` is the caller's right to commit; call it when everything submitted is committed or given
    back. The spool is dropped when everything balances, since until then it is the only other copy.
    Repeatable. Raises LeaseLost when another has taken the right and may be spooling; as the ledger
    and the store do; ContractError for an unknown job.
    """
    audit = complete_balanced(ledger, store, job_id)
    problems = list(audit.problems)
    for earlier in _abandoned(ledger, job_id):
        ended = complete_balanced(ledger, store, earlier)
        problems += (f"job {earlier}: {problem}" for problem in ended.problems)
        if ended.balanced:
            ledger.finish_job(earlier, ledger.now())
    if not problems:
        ledger.confirm_right(right)
        for batch_id in spool.list():
            spool.drop(batch_id)
            crash_point("audit.dropped")
    if not ledger.open_tasks(job_id):
        ledger.finish_job(job_id, ledger.now())
        crash_point("run.finished")
    return replace(audit, balanced=not problems, problems=tuple(problems))


def complete_balanced(ledger: Ledger, store: EvidenceStore, job_id: str) -> Audit:
    """Audit one job; when it balances, what is persisted of it is done. Raises as conclude_job."""
    audit = audit_job(ledger, store, job_id)
    if audit.balanced:
        crash_point("audit.balanced")
        ledger.complete_job(job_id, ledger.now())
        crash_point("audit.completed")
    return audit


def _abandoned(ledger: Ledger, job_id: str) -> list[str]:
    """Other jobs of the same tenant that are wholly listed, have no work left and never ended."""
    job = ledger.job(job_id)
    if job is None:
        return []
    ids = [
        other.record.job_id
        for other in ledger.unfinished_jobs(job.record.tenant_id)
        if other.state is JobState.LISTED and other.record.job_id != job_id
    ]
    return [other for other in ids if not ledger.open_tasks(other)]
