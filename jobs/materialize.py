"""Choose the best evidence per asset and publish it as a search snapshot.

python -m jobs.materialize --profile conf/L1.yaml
"""

from __future__ import annotations

import time

from ecm.evidence.snapshot import SnapshotPolicy, SnapshotRef, SnapshotStore

from ecm.contracts.search import Axis
from ecm.contracts.task import TaskType
from ecm.evidence.store import EvidenceStore
from ecm.stages.plan import TransformPlan

_AXES = {
    TaskType.VISION: Axis.FTS,
    TaskType.VV_EMBED: Axis.VV,
    TaskType.X_EMBED: Axis.X,
    TaskType.MV_EMBED: Axis.MV,
}


def policy_of(plan: TransformPlan) -> SnapshotPolicy:
    """Prefer the transforms of the profile on every axis."""
    return SnapshotPolicy(
        transforms={
            _AXES[kind]: (transform.fingerprint,)
            for kind, transform in plan.by_type.items()
            if kind in _AXES
        }
    )


def materialize(store: EvidenceStore, plan: TransformPlan) -> SnapshotRef:
    """Build, measure and publish; the published snapshot comes back when nothing has changed."""
    snapshots = SnapshotStore(store)
    ref = snapshots.build(policy_of(plan), time.time())
    snapshots.publish(ref.snapshot_id)
    return ref
