"""The ways out of a rollout: abort it while it runs, take it back after it was promoted, let a held
step pass. Seconds each: nothing is computed again.
"""

from __future__ import annotations

import time

from ecm.crashpoints import crash_point
from ecm.delivery.tenure import commit_tenure
from ecm.errors import ContractError, SnapshotNotFound
from ecm.evidence.publication import publish_despite_measurements
from ecm.evidence.quarantine import unheeded
from ecm.evidence.refs import SnapshotRef, published_ref, read_ref
from ecm.evidence.rollouts import Rollout, RolloutState, all_rollouts, in_force
from ecm.opening import plan_of
from ecm.publishing import materialize
from jobs.rollout import Driver, happened


def named(driver: Driver, rollout_id: str | None) -> Rollout:
    """The rollout of an id, or the newest. Raises ContractError (code `rollout.unknown`)."""
    found = all_rollouts(driver.store.storage)
    chosen = [each for each in found if rollout_id in (None, each.rollout_id)]
    if not chosen:
        what = f"no rollout {rollout_id}" if rollout_id else "no rollout was ever started"
        raise ContractError(what, "rollout.unknown", "see: ecm rollout list")
    return chosen[-1]


def accept(driver: Driver, rollout: Rollout, reason: str) -> Rollout:
    """Let a held step pass. Raises ContractError (code `rollout.state`) when none is held."""
    if rollout.state is not RolloutState.HELD:
        raise ContractError(
            f"rollout {rollout.rollout_id} is {rollout.state.value}, nothing of it is held",
            "rollout.state",
        )
    event = happened(RolloutState.ACCEPTED, pct=rollout.last.pct, reason=reason)
    return driver.add(rollout, event)


def abort(driver: Driver, rollout: Rollout, reason: str) -> Rollout:
    """End a rollout that was not promoted; what is queued for the new model is cancelled. Where a
    flip died with its snapshot published already, what was served before is served again.

    Raises ContractError (code `rollout.state`) when it has ended.
    """
    if not rollout.open:
        hint = "ecm rollout rollback" if rollout.state is RolloutState.PROMOTED else ""
        raise ContractError(
            f"rollout {rollout.rollout_id} has ended: {rollout.state.value}", "rollout.state", hint
        )
    ended = driver.add(rollout, happened(RolloutState.ABORTED, pct=rollout.pct, reason=reason))
    ref = published_ref(driver.store)
    if ref is not None and rollout.state is RolloutState.FLIPPING and _shown(ref, rollout):
        before = rollout.last.before
        if before is None or not _restored(driver, before):
            _build_another(driver)
    driver.trialling.withdraw(rollout, tuple(ref.tenants) if ref else ())
    return ended


def roll_back(driver: Driver, rollout: Rollout, reason: str) -> Rollout:
    """Serve the snapshot from before the flip, and give the roles back to the old model.

    When that snapshot was collected, or evidence in it quarantined, another is built of the old
    model's evidence. Raises ContractError (code `rollout.state`) when the rollout is not in force
    or another one rests on it.
    """
    storage = driver.store.storage
    present = in_force(all_rollouts(storage))
    if rollout.rollout_id not in [each.rollout_id for each in present]:
        raise ContractError(
            f"rollout {rollout.rollout_id} is {rollout.state.value}, not promoted",
            "rollout.state",
            "ecm rollout abort ends one that is open",
        )
    if present[-1].rollout_id != rollout.rollout_id:
        raise ContractError(
            f"rollout {present[-1].rollout_id} was promoted after {rollout.rollout_id}",
            "rollout.state",
            f"first: ecm rollout rollback {present[-1].rollout_id}",
        )
    before = rollout.last.before
    restored = before is not None and _restored(driver, before)
    crash_point("rollout.restored")
    event = happened(
        RolloutState.ROLLED_BACK, reason=reason, snapshot_id=before if restored else None
    )
    ended = driver.add(rollout, event)
    if not restored:
        _build_another(driver)
    return ended


def _shown(ref: SnapshotRef, rollout: Rollout) -> bool:
    """Whether a snapshot was made for the new model."""
    marks = {mark for preferred in ref.policy.transforms.values() for mark in preferred}
    return not marks.isdisjoint(rollout.terms.after.values())


def _build_another(driver: Driver) -> None:
    driver.told("the snapshot from before cannot be served any more: building another")
    with commit_tenure(driver.profile.ledger, driver.store) as tenure:
        plan = plan_of(driver.profile)
        materialize(driver.store, plan, driver.profile.snapshots, tenure.confirm)


def _restored(driver: Driver, snapshot_id: str) -> bool:
    """It was served before, so it is served again whatever the limits are now; unless it may show
    evidence that was quarantined since.
    """
    try:
        if unheeded(driver.store, read_ref(driver.store, snapshot_id).quarantines):
            return False
        publish_despite_measurements(driver.store, snapshot_id, time.time())
    except SnapshotNotFound:
        return False
    return True
