"""Rollouts over a real store: what is decided, what search sees meanwhile, and the ways out."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecm.contracts.search import Axis
from ecm.contracts.task import TaskType
from ecm.delivery.rollout_metrics import rollout_exposition
from ecm.errors import ConfigError, ContractError, LeaseLost, ManifestMismatch
from ecm.evidence.policy import SnapshotPolicy
from ecm.evidence.refs import published_ref
from ecm.evidence.rollouts import Rollout, RolloutState, all_rollouts
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.trial_gates import Verdict
from ecm.opening import axis_transforms, plan_of, search_parts
from ecm.publishing import policy_of
from jobs.rollback import abort, accept, named, roll_back
from jobs.rollout import Driver, drive, happened, start
from tests.seeded_models import NEW_WORDS, SeededStore

ASSETS = 240


def driver_of(seeded: SeededStore, told: list[str] | None = None) -> Driver:
    lines = [] if told is None else told
    return Driver(seeded.profile, seeded.store, seeded, lines.append)


def begin(seeded: SeededStore) -> Rollout:
    return start(seeded.profile, seeded.store, "fake-image", "fake-new", ["vision"])


def served(seeded: SeededStore) -> str:
    ref = published_ref(seeded.store)
    assert ref is not None
    return ref.snapshot_id


def test_a_bad_model_is_stopped_at_the_first_step_and_never_seen(tmp_path: Path) -> None:
    seeded = SeededStore(tmp_path, 1, ASSETS, noise=0.01, empty=0.2)
    before = served(seeded)
    done = drive(driver_of(seeded), begin(seeded))
    assert (done.state, done.pct) == (RolloutState.ROLLED_BACK, 5)
    assert "empty_captions failed" in done.last.reason
    report = done.reports[-1].report
    assert report is not None
    assert (report.assets, report.population) == (100, ASSETS)
    assert served(seeded) == before
    assert seeded.visible() == 0
    assert plan_of(seeded.profile).by_type[TaskType.VISION].manifest.name == "fake-image"
    # Were it not kept apart, it would stand in where the old model said nothing.
    wanted = policy_of(seeded.store, plan_of(seeded.profile), seeded.profile.snapshots, 0.0)
    loose = SnapshotPolicy(transforms=wanted.transforms)
    ref = SnapshotStore(seeded.store).build(loose, 2e9)
    rows = seeded.store.open_lance(ref.table, ref.version).to_table(columns=["caption"])
    assert any(NEW_WORDS in (text or "") for text in rows["caption"].to_pylist())


def test_a_good_model_takes_the_roles_and_gives_them_back(tmp_path: Path) -> None:
    seeded = SeededStore(tmp_path, 2, ASSETS, noise=0.01, empty=0.01)
    driver, before, old = driver_of(seeded), served(seeded), plan_of(seeded.profile)
    begun = begin(seeded)
    assert begun.terms.after.keys() == {TaskType.VISION, TaskType.MV_EMBED}  # vv stays as it is
    done = drive(driver, begun)
    assert (done.state, done.pct) == (RolloutState.PROMOTED, 100)
    assert served(seeded) == done.last.snapshot_id != before
    new = plan_of(seeded.profile)
    assert new.by_type[TaskType.VISION].fingerprint == begun.terms.after[TaskType.VISION]
    assert new.by_type[TaskType.VV_EMBED] == old.by_type[TaskType.VV_EMBED]
    assert search_parts(seeded.profile).transforms[Axis.MV] == begun.terms.after[TaskType.MV_EMBED]
    ref = published_ref(seeded.store)
    assert ref is not None
    assert ref.transforms[Axis.MV] == (begun.terms.after[TaskType.MV_EMBED],)
    with pytest.raises(ConfigError, match="does not have the role vision"):
        start(seeded.profile, seeded.store, "fake-image", "fake-new", ["vision"])

    back = roll_back(driver, named(driver, None), "a complaint")
    assert (back.state, back.last.reason) == (RolloutState.ROLLED_BACK, "a complaint")
    assert served(seeded) == before
    assert axis_transforms(plan_of(seeded.profile)) == axis_transforms(old)
    assert seeded.visible() == 0
    with pytest.raises(ContractError, match="not promoted"):
        roll_back(driver, named(driver, None), "")


def test_a_promoted_manifest_that_is_another_one_now_is_refused(tmp_path: Path) -> None:
    seeded = SeededStore(tmp_path, 3, 30, noise=0.0, empty=0.0)
    done = drive(driver_of(seeded), begin(seeded))
    assert done.state is RolloutState.PROMOTED
    manifest = tmp_path / "conf" / "models" / "fake-new.yaml"
    manifest.write_text(manifest.read_text().replace('revision: "5"', 'revision: "6"'))
    with pytest.raises(ManifestMismatch, match="fake-new"):
        plan_of(seeded.profile)


def test_a_step_in_doubt_is_held_looked_at_again_and_passed_by_a_person(tmp_path: Path) -> None:
    seeded = SeededStore(tmp_path, 4, 120, noise=0.0, empty=0.0)
    gates = tmp_path / "conf" / "gates.yaml"
    gates.write_text(
        "rollout: {min_assets: 20, extensions: 1, inconclusive: hold, steps: [1, 100],"
        " measures: {empty_captions: {most: 0.01}}}"
    )
    told: list[str] = []
    driver = driver_of(seeded, told)
    held = drive(driver, begin(seeded))
    assert (held.state, held.pct) == (RolloutState.HELD, 1)
    assert [e.report.assets for e in held.reports if e.report] == [20, 40]  # looked at twice
    verdicts = {m.name: m.verdict for m in held.reports[-1].report.measures}  # type: ignore[union-attr]
    assert verdicts["empty_captions"] is Verdict.LIKELY
    again = drive(driver, named(driver, None))
    assert again.state is RolloutState.HELD
    assert [e.report.assets for e in again.reports if e.report] == [20, 40, 40, 80]
    passed = drive(driver, accept(driver, again, "looked at them all"))
    assert passed.state is RolloutState.PROMOTED
    lines = seeded.journal.read_text().split()
    assert len(lines) == len(set(lines))  # nothing was computed twice


def test_of_two_drivers_one_is_refused_and_of_two_rollouts_one_waits(tmp_path: Path) -> None:
    seeded = SeededStore(tmp_path, 5, 40, noise=0.0, empty=0.0)
    driver, begun = driver_of(seeded), begin(seeded)
    assert begin(seeded) == begun  # the same start goes on
    with pytest.raises(ConfigError, match="r-0001"):
        start(seeded.profile, seeded.store, "fake-text", "fake-new", [])
    driver.add(begun, happened(RolloutState.COMPUTING, pct=5))
    with pytest.raises(LeaseLost, match="another driver"):
        driver.add(begun, happened(RolloutState.COMPUTING, pct=5))
    text = rollout_exposition(all_rollouts(seeded.store.storage))
    assert 'state="computing",to="fake-new"} 1.0' in text
    assert 'ecm_rollout_percent{from="fake-image",rollout="r-0001",to="fake-new"} 5.0' in text
    ended = abort(driver, named(driver, None), "enough")
    assert ended.state is RolloutState.ABORTED
    assert seeded.visible() == 0
    with pytest.raises(ContractError, match="has ended"):
        abort(driver, ended, "")
    assert begin(seeded).rollout_id == "r-0002"


def test_what_cannot_be_rolled_out_is_told(tmp_path: Path) -> None:
    seeded = SeededStore(tmp_path, 6, 10, noise=0.0, empty=0.0)
    profile, store = seeded.profile, seeded.store
    with pytest.raises(ConfigError, match="gives fake-query no role"):
        start(profile, store, "fake-query", "fake-new", [])
    with pytest.raises(ConfigError, match="does not have the role mv"):
        start(profile, store, "fake-image", "fake-new", ["mv"])
    with pytest.raises(ConfigError, match="does not provide"):
        start(profile, store, "fake-image", "fake-text", [])
    with pytest.raises(ConfigError, match="no fingerprint differs"):
        start(profile, store, "fake-image", "fake-image", [])
    with pytest.raises(ContractError, match="no rollout was ever started"):
        named(driver_of(seeded), None)
