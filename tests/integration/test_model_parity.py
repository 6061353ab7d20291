"""A model that is not the declared one writes nothing through a real run; mended, it goes on."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image
from rich.console import Console

from ecm.config import Profile, load_profile
from ecm.errors import ManifestError, ManifestMismatch
from ecm.evidence.runs import RunState, runs_of
from ecm.evidence.store import EvidenceStore
from ecm.ledger.ledger import open_ledger
from ecm.ledger.records import Redrive
from ecm.ledger.states import TaskState
from ecm.models.attestation import attest
from ecm.models.manifest import load_manifest
from ecm.stages import golden
from jobs.index import IndexSummary, run_index
from tests.hub_server import COMMIT, hub

FAKES = ("models.vision=fake-image", "models.vv=fake-image", "models.mv=fake-text")


def index(profile: Profile, folder: Path) -> IndexSummary:
    return run_index(profile, (str(folder),), "t", Console(file=io.StringIO()))


def blocked(profile: Profile) -> int:
    with open_ledger(profile.ledger) as ledger:
        return ledger.status(ledger.now(), "t").states[TaskState.MODEL_MISMATCH]


def evidence(profile: Profile) -> dict[str, int]:
    """Rows of every table but that of runs."""
    counts = EvidenceStore.open(profile.evidence).counts()
    counts.pop("analysis_runs")
    return counts


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for shade in range(6):
        Image.new("RGB", (40, 40), (200, 20 + shade, 30)).save(folder / f"{shade}.png")
    return folder


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    """A profile whose image model has a weight file of 4 KiB."""
    settings = (*FAKES, f"models_folder={tmp_path / 'models'}", "pipeline.commit_seconds=0.2")
    shutil.copytree(Path(__file__).parents[2] / "conf" / "models", tmp_path / "models")
    weights = tmp_path / "models" / "weights.bin"
    weights.write_bytes(bytes(range(256)) * 16)
    entry = {
        "name": "weights",
        "path": "weights.bin",
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "bytes": 4096,
    }
    manifest = tmp_path / "models" / "fake-image.yaml"
    manifest.write_text(manifest.read_text() + yaml.safe_dump({"files": [entry]}))
    return load_profile("L1", home=tmp_path / "home", overrides=settings, environ={})


def test_a_flipped_bit_blocks_the_tasks_and_writes_nothing_until_it_is_mended(
    ray_session: None, profile: Profile, photos: Path
) -> None:
    assert index(profile, photos).committed == 6
    before = evidence(profile)
    weights = profile.models_folder / "weights.bin"
    kept, times = weights.read_bytes(), os.stat(weights)
    weights.write_bytes(kept[:1000] + bytes([kept[1000] ^ 4]) + kept[1001:])
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    Image.new("RGB", (40, 40), (10, 200, 30)).save(photos / "new.png")
    with pytest.raises(ManifestMismatch, match=r"fake-image: file weights at .*weights\.bin has"):
        index(profile, photos)
    assert evidence(profile) == before
    assert blocked(profile) == 2
    assert runs_of(EvidenceStore.open(profile.evidence))[0].state is RunState.FAILED
    weights.write_bytes(kept)
    with open_ledger(profile.ledger) as ledger:
        wanted = Redrive(tenant_id="t", state=TaskState.MODEL_MISMATCH)
        assert ledger.redrive(wanted, ledger.now()) == 2
    assert index(profile, photos).committed == 1
    assert blocked(profile) == 0


def test_the_command_ends_in_one_line_and_exit_code_1(profile: Profile, photos: Path) -> None:
    (profile.models_folder / "weights.bin").write_bytes(b"others")
    told = subprocess.run(
        [sys.executable, "-m", "jobs.cli", "index", str(photos), "--home", str(profile.home)]
        + [part for name in FAKES for part in ("--set", name)]
        + ["--set", f"models_folder={profile.models_folder}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 1
    assert "weights.bin has sha256" in told.stderr.splitlines()[-1]
    assert not any(evidence(profile).values())


def test_a_recipe_is_refused_before_anything_is_listed(profile: Profile, photos: Path) -> None:
    models = profile.models.model_copy(update={"x": "dinov2-base"})
    with pytest.raises(ManifestError, match="dinov2-base are not here") as caught:
        index(profile.model_copy(update={"models": models}), photos)
    assert caught.value.hint == "ecm models fetch dinov2-base"
    assert blocked(profile) == 0


def test_a_recipe_is_fetched_ahead_and_pinned_at_its_commit(
    tmp_path: Path, tiny_models: Path, profile: Profile
) -> None:
    there = shutil.copytree(tiny_models.parent / "checkpoints" / "tiny-dinov2", tmp_path / "hub")
    for name in ("pytorch_model.bin", "modeling.py", "README.md"):
        (there / name).write_text("raise SystemExit(1)")
    recipe = {
        "name": "toy",
        "backend": "dino",
        "model_id": "someone/toy",
        "revision": "main",
        "licence": "none",
        "provides": ["x_embed"],
        "dims": {"x": 64},
        "checkpoint": {"hub": "someone/toy", "revision": "main"},
    }
    (profile.models_folder / "toy.yaml").write_text(yaml.safe_dump(recipe))
    home = ["--home", str(profile.home), "--set", f"models_folder={profile.models_folder}"]
    with hub("someone/toy", there) as (address, asked):
        told = ecm("models", "fetch", "toy", "dinov2-base", "--json", *home, HF_ENDPOINT=address)
    fetched, lost = json.loads(told.stdout)["items"]
    assert (told.returncode, fetched["revision"], fetched["probes"]) == (1, COMMIT, True)
    assert "the hub has no facebook/dinov2-base at main" in lost["problem"]
    assert not any(path.endswith((".bin", ".py")) for path in asked)
    assert (profile.pinned_models / "toy" / COMMIT / "model.safetensors").is_file()
    pinned = load_manifest("toy", profile.manifest_folders)
    attest(pinned, None)
    verdict = golden.verdict(pinned, 1)
    assert verdict is not None
    assert (verdict.run, verdict.passed) == (4, True)


def ecm(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    online = {"HF_HUB_OFFLINE": "0"}  # whatever back ends of other tests have made of it
    return subprocess.run(
        [sys.executable, "-m", "jobs.cli", *arguments],
        env={**os.environ, **online, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
