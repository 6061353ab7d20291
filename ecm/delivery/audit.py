"""Conservation audit: everything listed is accounted for, and what the ledger calls done is stored.

Compares counts and order-free key digests, ledger against Lance. Changes nothing but `persisted →
done`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice

from ecm.evidence.store import EvidenceStore
from ecm.ledger.ledger import Ledger

CHUNK_KEYS = 500_000
NAMED_KEYS = 5


@dataclass(frozen=True)
class Audit:
    """Counts are images. `key_digest` is over the evidence keys of committed and reused images."""

    balanced: bool
    listed: int
    committed: int
    reused: int
    filtered: int
    dead: int
    pending: int
    key_digest: str
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def audit_job(ledger: Ledger, store: EvidenceStore, job_id: str) -> Audit:
    """The audit of one job: counts, digest of what was listed, every evidence key in the store."""
    counts = ledger.job_counts(job_id)
    problems = []
    total = counts.committed + counts.reused + counts.filtered + counts.dead + counts.pending
    if total != counts.listed:
        problems.append(f"{counts.listed} images were listed but {total} are accounted for")
    if counts.listed_digest != counts.accounted_digest:
        problems.append("the keys of the images accounted for are not those that were listed")
    missing = _missing(ledger.evidence_keys(job_id), store)
    if missing:
        named = ", ".join(key[:16] for key in missing[:NAMED_KEYS])
        problems.append(f"{len(missing)} evidence keys are done but not stored: {named}")
    return Audit(
        balanced=not problems,
        listed=counts.listed,
        committed=counts.committed,
        reused=counts.reused,
        filtered=counts.filtered,
        dead=counts.dead,
        pending=counts.pending,
        key_digest=str(counts.key_digest),
        problems=tuple(problems),
    )


def _missing(keys: Iterator[str], store: EvidenceStore) -> list[str]:
    missing: list[str] = []
    while chunk := list(islice(keys, CHUNK_KEYS)):
        present = store.evidence_keys_present(chunk)
        missing += sorted(set(chunk) - set(present))
    return missing
