"""Pinning: a manifest names every file of a checkpoint, says what it says, and stays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ecm.contracts.result import Space
from ecm.errors import ManifestError, ManifestMismatch
from ecm.models.attestation import attest
from ecm.models.checkpoint import is_recipe
from ecm.models.manifest import list_manifests, load_manifest
from ecm.models.pinned_files import Standing, write_manifest
from ecm.models.pinning import PinRequest, pin
from jobs.cli import app
from tests.tiny_checkpoints import TINY

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture
def checkpoint(tiny_models: Path, tmp_path: Path) -> Path:
    """A copy of the tiny SigLIP, to be changed at will."""
    return shutil.copytree(tiny_models.parent / "checkpoints" / "tiny-siglip", tmp_path / "siglip")


@pytest.fixture
def captioner(tmp_path: Path) -> Path:
    """What the folder of a captioner has: pinning reads no weights, so that they may be none."""
    folder = tmp_path / "vlm"
    folder.mkdir()
    config = {"model_type": "qwen3_vl", "text_config": {"dtype": "bfloat16"}}
    (folder / "config.json").write_text(json.dumps(config))
    size = {"shortest_edge": 65536, "longest_edge": 1048576}
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": size}))
    for name in ("chat_template.jinja", "tokenizer.json", "generation_config.json"):
        (folder / name).write_text("{}")
    (folder / "model-00001-of-00001.safetensors").write_bytes(b"weights")
    return folder


@pytest.mark.parametrize("name", sorted(TINY))
def test_what_the_checkpoint_says_of_itself_is_what_a_hand_would_write(
    tiny_models: Path, name: str
) -> None:
    by_hand = TINY[name].manifest
    settings = {f"params.{key}": value for key, value in by_hand.get("params", {}).items()}
    folder = tiny_models.parent / "checkpoints" / name
    told = pin(PinRequest(folder, name, by_hand["backend"], settings=settings))
    assert {file.name for file in told.files} == {path.name for path in folder.iterdir()}
    assert [task.value for task in told.provides] == by_hand["provides"]
    if Space.MV not in told.dims:  # texts may be embedded in fewer dimensions
        assert {space.value: dim for space, dim in told.dims.items()} == by_hand["dims"]
    if told.preprocessing is not None:
        ours = told.preprocessing.model_dump(mode="json")
        wanted = by_hand["preprocessing"]
        assert {key: ours[key] for key in wanted if key not in ("mean", "std")} == {
            key: value for key, value in wanted.items() if key not in ("mean", "std")
        }
        assert ours["mean"] == pytest.approx(wanted["mean"], abs=0.01)
    attest(told, None)


def test_a_captioner_is_pinned_with_its_template_bounds_and_prompt(captioner: Path) -> None:
    prompt = CONF / "prompts" / "caption-1.txt"
    told = pin(PinRequest(captioner, "vlm", "vllm", prompt=prompt))
    assert told.dtype == "bfloat16"
    assert told.bounds is not None
    assert (told.bounds.min_pixels, told.bounds.max_pixels) == (65536, 1048576)
    names = {file.name for file in told.files}
    assert {"config", "prompt", "chat_template.jinja", "generation_config.json"} <= names
    attest(told, None)
    for name in ("chat_template.jinja", "tokenizer.json", "generation_config.json"):
        before = (captioner / name).read_bytes()
        (captioner / name).write_text("[]")
        with pytest.raises(ManifestMismatch, match=f"file {name} at .*{name} has sha256"):
            attest(told, None)
        (captioner / name).write_bytes(before)
    with pytest.raises(ManifestError, match="needs a prompt file"):
        pin(PinRequest(captioner, "vlm", "vllm"))


def test_pickles_foreign_code_and_unknown_architectures_are_refused(
    checkpoint: Path, captioner: Path
) -> None:
    pickle = checkpoint / "pytorch_model.bin"
    pickle.write_bytes(b"")
    with pytest.raises(ManifestError, match=r"pytorch_model\.bin is pickled"):
        pin(PinRequest(checkpoint, "s", "dual-encoder"))
    pickle.unlink()
    (checkpoint / "modeling_x.py").write_text("raise SystemExit(1)")
    named = pin(PinRequest(checkpoint, "s", "dual-encoder"))
    assert "modeling_x.py" in {file.name for file in named.files}
    with pytest.raises(ManifestError, match=r"config\.json: model_type 'siglip' is not one"):
        pin(PinRequest(checkpoint, "s", "dino"))
    config = captioner / "config.json"
    config.write_text(json.dumps({"model_type": "x", "auto_map": {"AutoModel": "m.M"}}))
    with pytest.raises(ManifestError, match=r"config\.json: auto_map asks for code"):
        pin(PinRequest(captioner, "v", "vllm", prompt=CONF / "prompts" / "caption-1.txt"))
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(ManifestError, match="no weights in"):
        pin(PinRequest(checkpoint, "s", "dual-encoder"))
    (checkpoint / "config.json").unlink()
    with pytest.raises(ManifestError, match=r"no config\.json"):
        pin(PinRequest(checkpoint, "s", "dual-encoder"))
    with pytest.raises(ManifestError, match="cannot be pinned for back end 'guess'"):
        pin(PinRequest(checkpoint, "s", "guess"))


def test_settings_are_dotted_keys_and_a_wrong_one_is_named(checkpoint: Path) -> None:
    told = pin(PinRequest(checkpoint, "s", "dual-encoder", settings={"needs.gpus": 1}))
    assert told.needs.gpus == 1
    with pytest.raises(ManifestError, match=r"manifest s: need.*: Extra inputs"):
        pin(PinRequest(checkpoint, "s", "dual-encoder", settings={"need": 1}))


def test_the_command_pins_with_probes_and_pinning_again_changes_nothing(
    checkpoint: Path, tmp_path: Path
) -> None:
    words = ["models", "pin", str(checkpoint), "--name", "toy", "--backend", "dual-encoder"]
    words += ["--home", str(tmp_path / "home"), "--json"]
    run = CliRunner()
    first = run.invoke(app, words)
    assert first.exit_code == 0, first.output
    said = json.loads(first.stdout.splitlines()[-1])
    assert (said["written"], said["probes"], said["files"]) == (True, True, 5)
    place = Path(said["manifest"])
    before = place.read_bytes()
    assert json.loads(run.invoke(app, words).stdout.splitlines()[-1])["written"] is False
    assert place.read_bytes() == before
    attest(load_manifest(place), None)
    other = pin(PinRequest(checkpoint, "toy", "dual-encoder", settings={"licence": "mine"}))
    with pytest.raises(ManifestError, match=r"toy\.yaml is there and says something else"):
        write_manifest(other, place, Standing.KEEP)
    assert write_manifest(other, place, Standing.REPLACE)
    assert load_manifest(place).licence == "mine"


def test_pinned_manifests_go_before_recipes_of_the_same_name(
    checkpoint: Path, tmp_path: Path
) -> None:
    told = pin(PinRequest(checkpoint, "siglip2-base-256", "dual-encoder"))
    folder = tmp_path / "pinned"
    write_manifest(told, folder / "siglip2-base-256.yaml", Standing.KEEP)
    models = CONF / "models"
    assert is_recipe(load_manifest("siglip2-base-256", [models]))
    assert not is_recipe(load_manifest("siglip2-base-256", [folder, models]))
    both = list_manifests(models, folder)
    assert [m.name for m in both] == [m.name for m in list_manifests(models)]
    assert not is_recipe(next(m for m in both if m.name == told.name))
