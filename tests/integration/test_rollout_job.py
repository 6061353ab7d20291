"""A rollout through the real pipeline: what is queued and computed, what runs see afterwards."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from ecm.config import conf_folder, load_profile
from ecm.contracts.task import TaskType
from ecm.evidence.refs import published_ref
from ecm.evidence.rollouts import Rollout, RolloutState
from ecm.evidence.store import EvidenceStore
from ecm.opening import plan_of
from ecm.publishing import materialize
from jobs.index import IndexSummary, run_index
from jobs.rollback import named, roll_back
from jobs.rollout import Driver, drive, start
from jobs.trialling import PipelineTrial

IMAGES = 24
GATES = "rollout: {min_assets: 8, steps: [25, 100], measures: {throughput: null}}"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(3)
    (tmp_path / "photos").mkdir()
    for number in range(IMAGES):
        pixels = rng.integers(0, 256, (1, 3)) + rng.integers(-20, 20, (40 * 48, 3))
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8).reshape(40, 48, 3))
        image.save(tmp_path / "photos" / f"{number:02d}.png")
    return tmp_path / "photos"


def quiet() -> Console:
    return Console(file=io.StringIO())


def test_a_new_model_sees_each_image_once_and_no_run_before_the_flip_shows_it(
    ray_session: None, tmp_path: Path, photos: Path
) -> None:
    shutil.copytree(conf_folder({}), tmp_path / "conf")
    (tmp_path / "conf" / "gates.yaml").write_text(GATES)
    models, journal = tmp_path / "conf" / "models", tmp_path / "journal"
    text = (models / "fake-image.yaml").read_text().replace("name: fake-image", "name: newer")
    text = text.replace('revision: "1"', 'revision: "2"')
    (models / "newer.yaml").write_text(f"{text}params: {{journal: {journal}}}\n")
    profile = load_profile(
        "L1",
        home=tmp_path / "home",
        overrides=(
            "models.vision=fake-image", "models.vv=fake-image", "models.mv=fake-text", "tenant=t",
            f"models_folder={models}", f"gates={tmp_path / 'conf' / 'gates.yaml'}",
            "pipeline.block_images=8", "pipeline.commit_seconds=0.2",
        ),
        environ={},
    )  # fmt: skip

    def index() -> IndexSummary:
        return run_index(profile, (str(photos),), "t", quiet())

    first = index()
    store = EvidenceStore.open(profile.evidence)
    begun = start(profile, store, "fake-image", "newer", [])
    seen: list[int] = []

    def look(line: str) -> None:
        """What is on record, and what a run would publish, when the first step was computed."""
        if line == "25 %: comparing":
            seen.append(sum(map(int, journal.read_text().split())))
            shown = materialize(store, plan_of(profile))
            marks = {mark for marks in shown.transforms.values() for mark in marks}
            assert not marks & set(begun.terms.after.values())
            assert set(begun.terms.after.values()) <= set(shown.policy.apart)

    def driver() -> Driver:
        return Driver(profile, store, PipelineTrial(profile, store, quiet()), look)

    done: Rollout = drive(driver(), begun)
    sampled = done.reports[0].report
    assert sampled is not None
    assert (done.state, seen) == (RolloutState.PROMOTED, [sampled.assets])
    assert 8 <= sampled.assets < IMAGES
    assert done.terms.after.keys() == {TaskType.VISION, TaskType.VV_EMBED, TaskType.MV_EMBED}
    assert sum(map(int, journal.read_text().split())) == IMAGES  # each image once

    after = index()
    assert (after.reused, after.images_through_models) == (IMAGES, 0)
    assert after.snapshot_id == done.last.snapshot_id
    roll_back(driver(), named(driver(), None), "tried")
    ref = published_ref(store)
    assert ref is not None
    assert first.snapshot_id != ref.snapshot_id == done.last.before
    again = index()
    assert (again.reused, again.images_through_models, again.problems) == (IMAGES, 0, ())
    ref = published_ref(store)
    assert ref is not None
    shown = {mark for marks in ref.transforms.values() for mark in marks}
    assert shown.isdisjoint(done.terms.after.values())
