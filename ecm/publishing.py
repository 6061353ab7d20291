"""Choose the best evidence per asset and publish it as a search snapshot, by the plan of a profile.

Knows which transforms are preferred and what the profile says about snapshots; how a snapshot is
built is known to `ecm.evidence`.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from ecm.contracts.search import Axis
from ecm.contracts.task import TaskType
from ecm.errors import StoreCorrupt, TransientError
from ecm.evidence.apart import never_chosen
from ecm.evidence.collection import collect
from ecm.evidence.committer import StillMine, unquestioned
from ecm.evidence.policy import SnapshotConfig, SnapshotPolicy
from ecm.evidence.refs import SnapshotRef
from ecm.evidence.retention import Retention
from ecm.evidence.rollouts import all_rollouts, unproven
from ecm.evidence.sealing import seal_store
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.store import EvidenceStore
from ecm.opening import axis_transforms
from ecm.stages.plan import TransformPlan

log = logging.getLogger("ecm.publishing")

DAY: Final = 86_400
_AS_USUAL: Final = SnapshotConfig()


def policy_of(
    store: EvidenceStore, plan: TransformPlan, settings: SnapshotConfig, now: float
) -> SnapshotPolicy:
    """Prefer the transforms of the profile on every axis; what was imported apart stays apart, and
    so does what a rollout has on trial or has turned down.
    """
    days = settings.max_age_days
    wanted = plan.fingerprints
    trial = unproven(all_rollouts(store.storage)) - set(wanted)
    return SnapshotPolicy(
        transforms=preferred(plan),
        others=settings.others,
        apart=tuple(sorted({*never_chosen(store, wanted), *trial})),
        min_confidence=settings.min_confidence,
        evidence_since=None if days is None else now // DAY * DAY - days * DAY,
        tenants=settings.tenants,
    )


def preferred(plan: TransformPlan) -> dict[Axis, tuple[str, ...]]:
    """The transforms whose evidence is shown first; words are of vision and of OCR."""
    marks: dict[Axis, tuple[str, ...]] = {
        axis: (mark,) for axis, mark in axis_transforms(plan).items()
    }
    if TaskType.OCR in plan.by_type:
        read = plan.by_type[TaskType.OCR].fingerprint
        marks[Axis.FTS] = (*marks.get(Axis.FTS, ()), read)
    return marks


def materialize(
    store: EvidenceStore,
    plan: TransformPlan,
    settings: SnapshotConfig = _AS_USUAL,
    still_mine: StillMine = unquestioned,
) -> SnapshotRef:
    """Build, measure and publish; the published snapshot comes back when nothing has changed.

    The caller holds the right to commit, of which `still_mine` knows, or nobody commits. With
    `settings.keep`, snapshots that nobody needs are collected then. Raises SnapshotRejected when
    it is beyond a limit: it exists then, but is not published.
    """
    seal_store(store)
    snapshots, now = SnapshotStore(store), time.time()
    ref = snapshots.build(policy_of(store, plan, settings, now), now, settings.limits, still_mine)
    published = snapshots.publish(ref.snapshot_id, time.time())
    if settings.keep is not None:
        _collect(store, Retention(settings.keep, settings.keep), still_mine)
    return published


def materialize_anew(
    store: EvidenceStore,
    plan: TransformPlan,
    settings: SnapshotConfig = _AS_USUAL,
    still_mine: StillMine = unquestioned,
) -> SnapshotRef:
    """Like `materialize`, from the evidence alone: for when a snapshot is damaged."""
    snapshots, now = SnapshotStore(store), time.time()
    ref = snapshots.build_anew(
        policy_of(store, plan, settings, now), now, settings.limits, still_mine
    )
    return snapshots.publish(ref.snapshot_id, time.time())


def _collect(store: EvidenceStore, rule: Retention, still_mine: StillMine) -> None:
    """What cannot be removed now is not what the run was for: it is told, and tried again."""
    try:
        collect(store, rule, time.time(), still_mine, log.info)
    except (StoreCorrupt, TransientError) as error:
        log.warning("snapshots were not collected: %s", error)
