"""Manifests: what is verified, what the fingerprint covers, how errors name their cause."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import yaml

from ecm.contracts.result import Space
from ecm.contracts.task import TaskType
from ecm.errors import BackendMissing, ManifestError, ManifestMismatch
from ecm.images.structure import STRUCTURE_DIM
from ecm.models import registry
from ecm.models.attestation import verify_files
from ecm.models.manifest import (
    ModelManifest,
    list_manifests,
    load_manifest,
)
from ecm.models.registry import open_image_model, open_query_encoder, open_text_embedder

CONF = Path(__file__).parents[2] / "conf" / "models"
SHA = hashlib.sha256(b"weights").hexdigest()


def written(folder: Path, **changes: object) -> Path:
    """A manifest of one weight file beside it, with changes."""
    (folder / "w.bin").write_bytes(b"weights")
    raw: dict[str, object] = {
        "name": "toy",
        "backend": "fake-image",
        "model_id": "toy",
        "revision": "1",
        "licence": "none",
        "provides": ["vision", "vv_embed"],
        "dims": {"vv": 4},
        "files": [{"name": "weights", "path": "w.bin", "sha256": SHA, "bytes": 7}],
        "preprocessing": {"resize_shorter": 8, "crop": 8},
        "params": {"depth": 1},
        "task_params": {"vision": {"least": 0.1}},
    }
    raw.update(changes)
    path = folder / "toy.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def prints(manifest: ModelManifest) -> tuple[str, str]:
    return manifest.fingerprint(TaskType.VISION), manifest.fingerprint(TaskType.VV_EMBED)


def test_every_shipped_manifest_loads_and_its_files_are_the_declared_ones() -> None:
    manifests = list_manifests(CONF)
    assert [m.name for m in manifests] == sorted(path.stem for path in CONF.glob("*.yaml"))
    for manifest in manifests:
        if manifest.checkpoint is not None:
            with pytest.raises(ManifestError, match="are not here") as caught:
                verify_files(manifest)
            assert caught.value.hint == f"ecm models fetch {manifest.name}"
            continue
        files = verify_files(manifest)
        for file in manifest.files:
            assert files[file.name].stat().st_size == file.bytes
    assert load_manifest("structure", [CONF]).dims == {Space.X: STRUCTURE_DIM}


def test_another_weight_file_is_refused_by_name_with_both_digests(tmp_path: Path) -> None:
    manifest = load_manifest(written(tmp_path))
    (tmp_path / "w.bin").write_bytes(b"weightz")
    found = hashlib.sha256(b"weightz").hexdigest()
    with pytest.raises(ManifestMismatch, match=rf"weights.*{found}.*expected {SHA}"):
        open_image_model(manifest, threads=1)
    (tmp_path / "w.bin").unlink()
    with pytest.raises(ManifestError, match=r"toy: cannot read weights at .*w\.bin"):
        verify_files(manifest)


def test_a_missing_package_says_what_to_install(tmp_path: Path) -> None:
    file = {"name": "w", "package": "no_such.pack", "resource": "w", "sha256": SHA, "bytes": 1}
    manifest = load_manifest(written(tmp_path, files=[file]))
    with pytest.raises(ManifestError, match=r"no_such\.pack, which carries w") as caught:
        verify_files(manifest)
    assert caught.value.hint == "pip install no-such"


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"batch": 3}, "batch: Extra inputs"),
        ({"dims": {}}, "dims has no vv"),
        ({"name": "Bad Name"}, "name: String should match"),
        ({"preprocessing": {"resize_shorter": 8, "crop": 9}}, "crop 9 is larger"),
        ({"files": [{"name": "w", "sha256": SHA, "bytes": 1}]}, "either path, or package"),
    ],
)
def test_a_wrong_manifest_is_one_line_that_names_the_field(
    tmp_path: Path, changes: dict[str, object], cause: str
) -> None:
    with pytest.raises(ManifestError, match=re.escape(cause)) as caught:
        load_manifest(written(tmp_path, **changes))
    assert "\n" not in str(caught.value)


def test_unreadable_and_unknown_manifests(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"no manifest nothing\.yaml"):
        load_manifest("nothing", [tmp_path])
    with pytest.raises(ManifestError, match="cannot read manifest"):
        load_manifest(tmp_path / "absent.yaml")
    (tmp_path / "broken.yaml").write_text("{")
    with pytest.raises(ManifestError, match="cannot read manifest"):
        load_manifest("broken", [tmp_path])
    with pytest.raises(ManifestError, match="no folder"):
        list_manifests(tmp_path / "absent")


@pytest.mark.parametrize(
    "changes",
    [
        {"backend": "other"},
        {"model_id": "other"},
        {"revision": "2"},
        {"dtype": "float16"},
        {"quantization": "int8"},
        {"dims": {"vv": 5}},
        {"preprocessing": {"resize_shorter": 9, "crop": 8}},
        {"params": {"depth": 2}},
        {"files": [{"name": "weights", "path": "w.bin", "sha256": "0" * 64, "bytes": 7}]},
    ],
)
def test_whatever_changes_an_output_changes_both_fingerprints(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    before = prints(load_manifest(written(tmp_path)))
    after = prints(load_manifest(written(tmp_path, **changes)))
    assert before[0] != after[0]
    assert before[1] != after[1]
    assert before[0] != before[1]


@pytest.mark.parametrize(
    "changes",
    [
        {"licence": "other"},
        {"query_encoder": "other"},
        {"name": "renamed"},
        {"files": [{"name": "weights", "path": "/elsewhere", "sha256": SHA, "bytes": 7}]},
    ],
)
def test_what_changes_no_output_changes_no_fingerprint(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    before = prints(load_manifest(written(tmp_path)))
    assert prints(load_manifest(written(tmp_path, **changes))) == before


def test_a_tag_threshold_or_word_list_leaves_vectors_valid(tmp_path: Path) -> None:
    words = {"name": "words", "path": "w.bin", "sha256": SHA, "bytes": 7, "tasks": ["vision"]}
    before = prints(load_manifest(written(tmp_path)))
    for changes in ({"task_params": {"vision": {"least": 0.2}}}, {"files": [words]}):
        kept = [words] if "files" in changes else []
        base = prints(load_manifest(written(tmp_path, files=[]))) if kept else before
        after = prints(load_manifest(written(tmp_path, **changes)))
        assert base[0] != after[0]
        assert base[1] == after[1]


def test_upstream_transforms_enter_and_only_provided_tasks_have_fingerprints() -> None:
    text = load_manifest("all-minilm-l6-v2", [CONF])
    prints = {text.fingerprint(TaskType.MV_EMBED, up) for up in ((), ("a",), ("b",), ("a", "b"))}
    assert len(prints) == 4
    with pytest.raises(ManifestError, match="does not provide vision"):
        text.fingerprint(TaskType.VISION)


def test_unknown_back_ends_and_missing_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = load_manifest(written(tmp_path, backend="guess"))
    with pytest.raises(ManifestError, match="no image model back end called 'guess'"):
        open_image_model(manifest, threads=1)
    with pytest.raises(ManifestError, match="no text embedder back end"):
        open_text_embedder(load_manifest("efficientnet-lite0", [CONF]), threads=1)
    absent = registry.Backend("no_such_library.module:Class", "pip install something")
    monkeypatch.setitem(registry.IMAGE_MODELS, "guess", absent)
    with pytest.raises(BackendMissing, match="no_such_library") as caught:
        open_image_model(manifest, threads=1)
    assert caught.value.hint == "pip install something"


def test_a_query_encoder_made_for_other_weights_is_refused() -> None:
    bridge = load_manifest("class-bridge", [CONF])
    vision = load_manifest("efficientnet-lite0", [CONF])
    other = tuple(
        file.model_copy(update={"sha256": "1" * 64}) if file.name == "weights" else file
        for file in vision.files
    )
    with pytest.raises(ManifestMismatch, match=f"file weights.*expected {'1' * 64}"):
        open_query_encoder(bridge, reaches=vision.model_copy(update={"files": other}), threads=1)


def test_params_a_back_end_does_not_know_are_refused() -> None:
    vision = load_manifest("efficientnet-lite0", [CONF])
    typo = vision.model_copy(update={"task_params": {TaskType.VISION: {"min_clas": 0.1}}})
    with pytest.raises(ManifestError, match="min_clas: Extra inputs"):
        open_image_model(typo, threads=1)
