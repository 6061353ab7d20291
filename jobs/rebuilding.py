"""A ledger told by its evidence store: the settings a profile gives, and what audits say after it.

Knows where models of stored evidence have their names from. How a ledger is restored is known to
`ecm.delivery.rebuild`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from ecm.config import Profile
from ecm.delivery.audit import audit_job
from ecm.delivery.committing import CommitSettings
from ecm.delivery.incarnation import Incarnation
from ecm.delivery.rebuild import RebuildSettings
from ecm.evidence.imports import imported_models
from ecm.evidence.store import EvidenceStore
from ecm.ledger.ledger import Ledger
from ecm.opening import plan_of


def rebuild_settings(profile: Profile, store: EvidenceStore, name: str) -> RebuildSettings:
    """Settings for all tenants, under a run of this name; models are the profile's, and those that
    imports have named. Raises ManifestError, ConfigError, StoreCorrupt.
    """
    named = {fingerprint: note.spec for fingerprint, note in imported_models(store).items()}
    return RebuildSettings(
        commit=CommitSettings(
            run_id=f"{name}-{uuid.uuid4().hex[:8]}",
            holder=str(Incarnation.here()),
            envelopes=profile.pipeline.commit_envelopes,
            seconds=profile.pipeline.commit_seconds,
        ),
        lease_seconds=profile.ledger.lease_seconds,
        models=named | {t.fingerprint: t.model for t in plan_of(profile).by_type.values()},
    )


def audit_problems(ledger: Ledger, store: EvidenceStore, job_ids: Iterable[str]) -> list[str]:
    """What the audit of each job finds wrong, one line each."""
    return [f"{job}: {p}" for job in job_ids for p in audit_job(ledger, store, job).problems]
