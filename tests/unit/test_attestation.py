"""Whatever differs from what a manifest declares is refused in one line; what does not, never."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ecm.errors import ManifestError, ManifestMismatch
from ecm.models import attestation
from ecm.models.attestation import attest, attested, damaged_files, locate, memory_below
from ecm.models.manifest import ModelManifest, load_manifest
from ecm.models.pinning import PinRequest, pin
from tests.tiny_checkpoints import TINY

CONF = Path(__file__).parents[2] / "conf" / "models"
PACKAGED = ("efficientnet-lite0", "all-minilm-l6-v2")


@pytest.fixture(scope="module")
def made(tiny_models: Path) -> Path:
    """The folder of all tiny checkpoints."""
    return tiny_models.parent / "checkpoints"


def pinned(folder: Path, name: str) -> ModelManifest:
    tree = TINY[name].manifest
    settings = {f"params.{key}": value for key, value in tree.get("params", {}).items()}
    dims = {f"dims.{space}": dim for space, dim in tree["dims"].items()}
    request = PinRequest(folder / name, name, tree["backend"], settings={**settings, **dims})
    return pin(request)


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where digests are remembered; files count as settled at once."""
    monkeypatch.setattr(attestation, "SETTLED_NS", 0)
    return memory_below(tmp_path / "cache")


def flipped(path: Path, rng: random.Random) -> Iterator[int]:
    """One bit of the file is another for as long as the caller looks; size and mtime stay."""
    before = os.stat(path)
    data = bytearray(path.read_bytes())
    place = rng.randrange(len(data))
    bit = 1 << rng.randrange(8)
    for _ in range(2):
        data[place] ^= bit
        with path.open("r+b") as stream:
            stream.seek(place)
            stream.write(data[place : place + 1])
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        yield place


@pytest.mark.parametrize("name", sorted(TINY))
def test_a_flipped_bit_in_any_file_of_a_checkpoint_is_refused_by_name(
    made: Path, memory: Path, name: str
) -> None:
    manifest = pinned(made, name)
    rng = random.Random(name)
    for _ in range(2):
        attest(manifest, memory)
    for file in manifest.files:
        path = locate(name, file)
        for _ in range(4):
            flip = flipped(path, rng)
            next(flip)
            with pytest.raises(ManifestMismatch) as caught:
                attest(manifest, memory)
            assert str(path) in str(caught.value)
            assert "\n" not in str(caught.value)
            next(flip)
            attest(manifest, memory)


@pytest.mark.parametrize("name", PACKAGED)
def test_a_flipped_bit_in_any_file_of_a_packaged_model_is_refused(
    tmp_path: Path, memory: Path, name: str
) -> None:
    manifest = load_manifest(name, [CONF])
    copies = []
    for file in manifest.files:
        copy = tmp_path / file.name
        shutil.copyfile(locate(name, file), copy)
        copies.append(
            file.model_copy(update={"path": str(copy), "package": None, "resource": None})
        )
    moved = manifest.model_copy(update={"files": tuple(copies)})
    attest(moved, memory)
    for file in copies:
        flip = flipped(Path(str(file.path)), random.Random(name))
        next(flip)
        with pytest.raises(ManifestMismatch, match=f"file {file.name} at "):
            attest(moved, memory)
        next(flip)
    attest(moved, memory)


@pytest.mark.parametrize(
    "name",
    ["weights.bin", "adapter_config.json", "chat_template.jinja", "modeling.py", "sub/v.txt"],
)
def test_what_a_loader_could_pick_up_and_nobody_declared_is_refused(
    made: Path, tmp_path: Path, name: str
) -> None:
    shutil.copytree(made / "tiny-siglip", tmp_path / "tiny-siglip")
    manifest = pinned(tmp_path, "tiny-siglip")
    extra = tmp_path / "tiny-siglip" / name
    extra.parent.mkdir(exist_ok=True)
    extra.write_bytes(b"{}")
    with pytest.raises(ManifestMismatch, match=f"{name} is not declared"):
        attest(manifest, None)
    extra.unlink()
    for harmless in ("README.md", "LICENSE.txt", ".gitattributes", ".cache/x.json"):
        path = tmp_path / "tiny-siglip" / harmless
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    attest(manifest, None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"revision": "files-" + "0" * 24}, "revision is files-000"),
        ({"dims": {"vv": 63}}, "dims.vv is 63, but .*config.json says 64"),
        ({"preprocessing": {"interpolation": "nearest"}}, "preprocessing.interpolation is nearest"),
        ({"preprocessing": {"geometry": "crop"}}, "preprocessing.geometry is crop"),
        ({"preprocessing": {"resize_shorter": 70}}, "preprocessing.resize_shorter is 70"),
        ({"preprocessing": {"mean": [1.0, 1.0, 1.0]}}, "preprocessing.mean is"),
        ({"backend": "dino"}, "backend is dino, but .*config.json is of a 'siglip'"),
    ],
)
def test_a_manifest_that_its_checkpoint_contradicts_is_refused(
    made: Path, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    tree = pinned(made, "tiny-siglip").model_dump(mode="json")
    for key, value in changes.items():
        tree[key] = {**tree[key], **value} if isinstance(value, dict) else value
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(tree))
    with pytest.raises(ManifestMismatch, match=said) as caught:
        attest(load_manifest(tmp_path / "x.yaml"), None)
    assert "\n" not in str(caught.value)


def test_the_folder_says_which_commit_it_is(made: Path, tmp_path: Path) -> None:
    commit, other = "a" * 40, "b" * 40
    shutil.copytree(made / "tiny-dinov2", tmp_path / commit)
    manifest = pin(PinRequest(tmp_path / commit, "d", "dino"))
    assert manifest.revision == commit
    attest(manifest, None)
    with pytest.raises(ManifestMismatch, match=f"revision is {other}, but .*{commit} says"):
        attest(manifest.model_copy(update={"revision": other}), None)
    shutil.copytree(made / "tiny-dinov2", tmp_path / "plain")
    config = tmp_path / "plain" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "_commit_hash": commit}))
    manifest = pin(PinRequest(tmp_path / "plain", "d", "dino"))
    assert manifest.revision == commit
    with pytest.raises(ManifestMismatch, match=r"config\.json says a"):
        attest(manifest.model_copy(update={"revision": "main"}), None)
    with pytest.raises(ManifestError, match=f"says revision {commit}, not {other}"):
        pin(PinRequest(tmp_path / "plain", "d", "dino", revision=other))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"interpolation": "bilinear"}, "preprocessing is"),
        ({"resize_shorter": 232}, "preprocessing is"),
        ({"mean": (127.5, 127.5, 127.5)}, "preprocessing is"),
    ],
)
def test_probes_vouch_for_the_preprocessing_of_a_packaged_model(
    changes: dict[str, object], said: str
) -> None:
    manifest = load_manifest("efficientnet-lite0", [CONF])
    assert manifest.preprocessing is not None
    other = manifest.preprocessing.model_copy(update=changes)
    with pytest.raises(ManifestMismatch, match=rf"{said}.*efficientnet-lite0\.json"):
        attest(manifest.model_copy(update={"preprocessing": other}), None)
    with pytest.raises(ManifestMismatch, match=r"revision is 2, but the probes .*0\.json"):
        attest(manifest.model_copy(update={"revision": "2"}), None)


def test_a_settled_file_is_read_once_and_again_when_anything_about_it_changes(
    tmp_path: Path, memory: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made / "tiny-dinov2", tmp_path / "tiny-dinov2")
    manifest = pinned(tmp_path, "tiny-dinov2")
    read: list[Path] = []
    whole = attestation._read_whole
    monkeypatch.setattr(
        attestation, "_read_whole", lambda path: (read.append(path), whole(path))[1]
    )
    attest(manifest, memory)
    assert len(read) == len(manifest.files)
    attest(manifest, memory)
    assert len(read) == len(manifest.files)
    weights = tmp_path / "tiny-dinov2" / "model.safetensors"
    weights.touch()
    attest(manifest, memory)
    assert read[len(manifest.files) :] == [weights]
    moved = weights.with_name("moved")
    weights.rename(moved)
    shutil.copyfile(moved, weights)  # the same bytes in another inode
    moved.unlink()
    attest(manifest, memory)
    assert read[len(manifest.files) :] == [weights, weights]
    for note in memory.iterdir():
        note.write_bytes(note.read_bytes().replace(b'"sha256":"', b'"sha256":"0')[:-9])
    attest(manifest, memory)
    assert len(read) == 2 * len(manifest.files) + 2


def test_a_file_that_has_just_changed_is_not_remembered(tmp_path: Path, made: Path) -> None:
    shutil.copytree(made / "tiny-dinov2", tmp_path / "tiny-dinov2")
    manifest = pinned(tmp_path, "tiny-dinov2")
    memory = memory_below(tmp_path / "cache")
    assert time.time_ns() - os.stat(tmp_path / "tiny-dinov2").st_ctime_ns < 1e9
    attest(manifest, memory)
    assert not list(memory.glob("*.json"))


def test_a_file_that_is_exchanged_while_a_model_is_loaded_is_refused(
    made: Path, tmp_path: Path
) -> None:
    shutil.copytree(made / "tiny-dinov2", tmp_path / "tiny-dinov2")
    manifest = pinned(tmp_path, "tiny-dinov2")
    weights = tmp_path / "tiny-dinov2" / "model.safetensors"
    with attested(manifest, None) as files:
        assert files["model.safetensors"] == weights
    said = pytest.raises(ManifestMismatch, match=r"safetensors changed while it was loaded")
    with said, attested(manifest, None):
        os.utime(weights)
    assert damaged_files(manifest) == ()
    weights.write_bytes(b"others")
    assert damaged_files(manifest) == (weights,)
