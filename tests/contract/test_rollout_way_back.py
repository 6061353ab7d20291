"""What search sees after a rollout is taken back: the old model, whatever happened in between."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from ecm.contracts.identity import evidence_key
from ecm.contracts.quarantine import Drift, QuarantineNotice
from ecm.contracts.task import TaskType
from ecm.delivery.tenure import commit_tenure
from ecm.errors import LeaseLost, SnapshotRejected
from ecm.evidence.publication import publish, rollback
from ecm.evidence.quarantine import quarantine
from ecm.evidence.refs import published_ref
from ecm.evidence.rollouts import Rollout, RolloutEvent, RolloutState
from ecm.evidence.schema import EVIDENCE_TEXT
from jobs.rollback import abort, named, roll_back
from jobs.rollout import Driver, drive, flip, start, tried_plan
from tests.seeded_models import START, SeededStore


@dataclass(frozen=True)
class Dying(Driver):
    """A driver that dies when its snapshot is published and nothing says so yet."""

    def add(self, rollout: Rollout, event: RolloutEvent) -> Rollout:
        if event.state is RolloutState.PROMOTED:
            raise KeyboardInterrupt
        return super().add(rollout, event)


def test_a_flip_that_dies_remembers_what_was_served_before_where_words_are_read_too(
    tmp_path: Path,
) -> None:
    seeded = SeededStore(tmp_path, 1, 20, noise=0.0, empty=0.0)
    models = seeded.profile.models.model_copy(update={"ocr": "fake-ocr", "mv": None})
    profile = seeded.profile.model_copy(update={"models": models})
    before = published_ref(seeded.store)
    assert before is not None
    begun = start(profile, seeded.store, "fake-image", "fake-new", ["vision"])
    plan = tried_plan(profile, begun.terms)
    with pytest.raises(KeyboardInterrupt):
        flip(Dying(profile, seeded.store, seeded, lambda line: None), begun, plan)
    driver = Driver(profile, seeded.store, seeded, lambda line: None)
    done = flip(driver, named(driver, None), plan)
    assert done.state is RolloutState.PROMOTED
    assert done.last.before == before.snapshot_id


@dataclass(frozen=True)
class Watched(Driver):
    """A driver that looks whether anybody else could publish when it says who is promoted."""

    def add(self, rollout: Rollout, event: RolloutEvent) -> Rollout:
        if event.state is RolloutState.PROMOTED:
            with pytest.raises(LeaseLost), commit_tenure(self.profile.ledger, self.store):
                pass
            self.told("nobody else")
        return super().add(rollout, event)


def test_nobody_publishes_between_the_snapshot_of_a_flip_and_the_word_of_it(tmp_path: Path) -> None:
    seeded = SeededStore(tmp_path, 2, 20, noise=0.0, empty=0.0)
    told = list[str]()
    driver = Watched(seeded.profile, seeded.store, seeded, told.append)
    begun = start(seeded.profile, seeded.store, "fake-image", "fake-new", ["vision"])
    assert drive(driver, begun).state is RolloutState.PROMOTED
    assert "nobody else" in told


def test_a_flip_that_dies_and_is_aborted_shows_nothing_of_the_new_model(tmp_path: Path) -> None:
    seeded = SeededStore(tmp_path, 3, 20, noise=0.0, empty=0.0)
    before = published_ref(seeded.store)
    profile, told = seeded.profile, list[str]()
    begun = start(profile, seeded.store, "fake-image", "fake-new", ["vision"])
    with pytest.raises(KeyboardInterrupt):
        drive(Dying(profile, seeded.store, seeded, told.append), begun)
    assert published_ref(seeded.store) != before
    driver = Driver(profile, seeded.store, seeded, told.append)
    assert abort(driver, named(driver, None), "enough").state is RolloutState.ABORTED
    assert published_ref(seeded.store) == before


def test_evidence_quarantined_since_is_not_shown_again(tmp_path: Path) -> None:
    seeded = SeededStore(tmp_path, 2, 20, noise=0.0, empty=0.0)
    store, before = seeded.store, published_ref(seeded.store)
    assert before is not None
    driver = Driver(seeded.profile, store, seeded, lambda line: None)
    begun = start(seeded.profile, store, "fake-image", "fake-new", ["vision"])
    assert drive(driver, begun).state is RolloutState.PROMOTED
    vision = begun.terms.before[TaskType.VISION]
    rows = store.sql(f"SELECT asset_id, transform FROM {EVIDENCE_TEXT}").to_pylist()
    asset = next(row["asset_id"] for row in rows if row["transform"] == vision)
    told = QuarantineNotice(
        tenant_id="t",
        manifest="fake-image",
        transforms=(vision,),
        run_id="run-seeded",
        worker_id="w",
        drift=Drift(probe="waves", said="probe waves: cosine 0.5"),
        since=START,
        until=START + 1,
        keys=(evidence_key("t", asset, TaskType.VISION.value, vision),),
    )
    name = quarantine(store, told)
    with pytest.raises(SnapshotRejected, match=f"built before quarantine {name}"):
        rollback(store, START)
    with pytest.raises(SnapshotRejected, match=f"built before quarantine {name}"):
        publish(store, before.snapshot_id, START)
    assert roll_back(driver, named(driver, None), "worse").state is RolloutState.ROLLED_BACK
    after = published_ref(store)
    assert after is not None
    assert after.quarantines == (name,)
    assert vision in {mark for marks in after.policy.transforms.values() for mark in marks}
    assert seeded.visible() == 0
