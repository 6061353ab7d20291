"""Whose evidence a bundle holds, beside the models of a profile: same, other, forged or unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ecm.contracts.task import TaskType
from ecm.delivery.fingerprints import known_transforms, mismatches, note_of
from ecm.errors import ManifestMismatch
from ecm.evidence.bundle import BundleTransform
from ecm.models.manifest import ModelFile, ModelManifest, load_manifest
from ecm.stages.plan import TransformPlan, plan_transforms

CONF = Path(__file__).resolve().parents[2] / "conf" / "models"
WEIGHTS = ModelFile(name="weights", path="/w", sha256="a" * 64, bytes=3)
OTHER = ModelFile(name="weights", path="/w", sha256="b" * 64, bytes=3)
IMAGE = load_manifest("fake-image", [CONF])
TEXT = load_manifest("fake-text", [CONF])
OURS = IMAGE.model_copy(update={"files": (WEIGHTS,)})


def plan(image: ModelManifest = OURS, text: ModelManifest | None = None) -> TransformPlan:
    roles = {TaskType.VISION: image, TaskType.VV_EMBED: image}
    return plan_transforms(roles | ({TaskType.MV_EMBED: text} if text else {}))


def bundled(of: TransformPlan, **changes: Any) -> list[BundleTransform]:
    """What an export of a store filled by a plan says about its transforms."""
    return [
        BundleTransform(
            fingerprint=each.fingerprint, task_types=(each.task_type.value,), model=note_of(each)
        ).model_copy(update=changes)
        for each in of.by_type.values()
    ]


def changed(**fields: Any) -> ModelManifest:
    return OURS.model_copy(update=fields)


def test_the_profiles_own_models_match() -> None:
    assert mismatches(bundled(plan(text=TEXT)), plan(text=TEXT)) == ()


def test_the_same_name_with_other_weights_is_refused_and_both_are_named() -> None:
    found = mismatches(bundled(plan(changed(files=(OTHER,)))), plan())
    assert len(found) == 2
    line = str(found[0])
    for part in (found[0].theirs.fingerprint[:12], found[0].ours.fingerprint[:12], "b" * 12):
        assert part in line


def test_another_name_with_the_same_id_and_revision_is_the_same_model() -> None:
    renamed = changed(name="mine", files=(OTHER,))
    assert len(mismatches(bundled(plan(renamed)), plan())) == 2


def test_the_same_weights_with_other_settings_are_refused_unless_ours_is_there_as_well() -> None:
    other = plan(changed(params={"threshold": 1}))
    assert len(mismatches(bundled(other), plan())) == 2
    assert mismatches([*bundled(other), *bundled(plan())], plan()) == ()


def test_other_weights_are_refused_even_beside_ours() -> None:
    other = plan(changed(files=(OTHER,)))
    assert len(mismatches([*bundled(other), *bundled(plan())], plan())) == 2


def test_texts_of_other_captions_are_other_vectors() -> None:
    theirs = plan(changed(files=(OTHER,)), TEXT)
    kinds = [each.theirs.task_types[0] for each in mismatches(bundled(theirs), plan(text=TEXT))]
    assert sorted(kinds) == ["mv_embed", "vision", "vv_embed"]


def test_another_model_and_a_role_nobody_has_are_history() -> None:
    another = changed(name="another", model_id="another-model", files=(OTHER,))
    assert mismatches(bundled(plan(another)), plan()) == ()
    ours = plan_transforms({TaskType.VISION: OURS})
    theirs = [t for t in bundled(plan(changed(files=(OTHER,)))) if t.task_types == ("vv_embed",)]
    assert mismatches(theirs, ours) == ()


def test_an_unknown_model_in_a_role_of_the_profile_is_refused() -> None:
    theirs = bundled(plan(changed(files=(OTHER,))), model=None)
    assert "an unknown model" in str(mismatches(theirs, plan())[0])
    assert mismatches(bundled(plan(), model=None), plan()) == ()


def test_our_fingerprint_with_other_weights_is_a_forgery() -> None:
    lie = note_of(plan(changed(files=(OTHER,))).by_type[TaskType.VISION])
    with pytest.raises(ManifestMismatch, match="other weights"):
        mismatches(bundled(plan(), model=lie), plan())


def test_an_exporter_knows_the_models_of_all_its_manifests() -> None:
    profile = plan_transforms({TaskType.VISION: load_manifest("efficientnet-lite0", [CONF])})
    known = known_transforms(profile, [IMAGE, TEXT])
    assert {*profile.fingerprints, *plan(IMAGE, TEXT).fingerprints} <= set(known)
