"""The ledger's view of envelopes, and how a batch of them is reported.

A link is a promise that somebody else's evidence is there: it is taken into a batch only when the
ledger knows that evidence, or takes it into the same batch. Knows nothing of tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ecm.contracts.identity import evidence_key
from ecm.contracts.result import ResultEnvelope
from ecm.ledger.ledger import Ledger
from ecm.ledger.records import Failure, Reported, Right


@dataclass(frozen=True)
class Taken:
    """Task ids of a batch: `accepted` belong to it now, `unbacked` are links without evidence.

    All others were stale.
    """

    accepted: frozenset[str]
    unbacked: frozenset[str]


def report_batch(
    ledger: Ledger, batch_id: str, envelopes: Sequence[ResultEnvelope], right: Right | None
) -> Taken:
    """Report what was analysed, then the links that it or earlier work backs. Repeatable.

    Raises LeaseLost when the right to commit has been taken by another.
    """
    reports = [reported(envelope) for envelope in envelopes]
    analysed = [report for report in reports if not report.linked]
    links = [report for report in reports if report.linked]
    accepted: frozenset[str] = frozenset()
    if analysed:
        accepted = ledger.report(batch_id, analysed, ledger.now(), right).accepted
    if not links:
        return Taken(accepted, frozenset())
    backed = {r.evidence_key for r in analysed if r.task_id in accepted}
    backed |= ledger.done_evidence({r.evidence_key for r in links} - backed)
    ready = [report for report in links if report.evidence_key in backed]
    if ready:
        accepted |= ledger.report(batch_id, ready, ledger.now(), right).accepted
    unbacked = frozenset(r.task_id for r in links if r.evidence_key not in backed)
    return Taken(accepted, unbacked)


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
        worker=envelope.worker_id,
    )


def failure(envelope: ResultEnvelope) -> Failure:
    """The ledger's view of an envelope that failed."""
    if envelope.error is None:
        raise ValueError("a failed envelope carries its error")
    content = envelope.resource_fingerprint.content_hash
    return Failure(envelope.task_id, envelope.fence, envelope.error, content, envelope.worker_id)
