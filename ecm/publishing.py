"""Choose the best evidence per asset and publish it as a search snapshot, by the plan of a profile.

Knows which transforms are preferred; how a snapshot is built is known to `ecm.evidence`.
"""

from __future__ import annotations

import time

from ecm.evidence.apart import never_chosen
from ecm.evidence.policy import SnapshotPolicy
from ecm.evidence.refs import SnapshotRef
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.store import EvidenceStore
from ecm.opening import axis_transforms
from ecm.stages.plan import TransformPlan


def policy_of(store: EvidenceStore, plan: TransformPlan) -> SnapshotPolicy:
    """Prefer the transforms of the profile on every axis; what was imported apart stays apart."""
    return SnapshotPolicy(
        transforms={axis: (t,) for axis, t in axis_transforms(plan).items()},
        apart=never_chosen(store, plan.fingerprints),
    )


def materialize(store: EvidenceStore, plan: TransformPlan) -> SnapshotRef:
    """Build, measure and publish; the published snapshot comes back when nothing has changed.

    The caller holds the right to commit, or nobody commits.
    """
    snapshots = SnapshotStore(store)
    ref = snapshots.build(policy_of(store, plan), time.time())
    snapshots.publish(ref.snapshot_id, time.time())
    return ref
