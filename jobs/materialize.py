"""Choose the best evidence per asset and publish it as a search snapshot.

python -m jobs.materialize --profile conf/L1.yaml
"""

from __future__ import annotations

import sys
import time

from ecm.evidence.refs import SnapshotPolicy, SnapshotRef
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.store import EvidenceStore
from ecm.opening import axis_transforms
from ecm.stages.plan import TransformPlan


def policy_of(plan: TransformPlan) -> SnapshotPolicy:
    """Prefer the transforms of the profile on every axis."""
    return SnapshotPolicy(transforms={axis: (t,) for axis, t in axis_transforms(plan).items()})


def materialize(store: EvidenceStore, plan: TransformPlan) -> SnapshotRef:
    """Build, measure and publish; the published snapshot comes back when nothing has changed."""
    snapshots = SnapshotStore(store)
    ref = snapshots.build(policy_of(plan), time.time())
    snapshots.publish(ref.snapshot_id, time.time())
    return ref


if __name__ == "__main__":
    from jobs.cli import run as run_command

    sys.exit(run_command(["materialize", *sys.argv[1:]]))
