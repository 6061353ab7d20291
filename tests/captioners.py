"""Profiles on the fake captioner, with whatever is wrong with its engine, and pictures for it."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import yaml
from PIL import Image

from ecm.config import Profile, load_profile
from ecm.models.manifest import ModelManifest, load_manifest
from tests.factories import COLOURS

REPO = Path(__file__).resolve().parents[1]
CAPTIONS = (
    "models.vision=fake-captioner",
    "models.vv=fake-image",
    "models.mv=fake-text",
    "pipeline.block_images=4",
    "pipeline.commit_seconds=0.1",
    "pipeline.object_store_bytes=100000000",
)


def models_folder(folder: Path, **serving: str | float) -> Path:
    """The manifests of the product in `folder`, the fake captioner with flaws of its engine."""
    shutil.copytree(REPO / "conf" / "models", folder / "models")
    shutil.copytree(REPO / "conf" / "prompts", folder / "prompts")
    path = folder / "models" / "fake-captioner.yaml"
    told = yaml.safe_load(path.read_text("utf-8"))
    path.write_text(yaml.safe_dump({**told, "serving": serving}), "utf-8")
    return folder / "models"


def fake_captioner_manifest(folder: Path, **serving: str | float) -> ModelManifest:
    return load_manifest("fake-captioner", [models_folder(folder, **serving)])


def caption_profile(home: Path, models: Path, *overrides: str) -> Profile:
    """A profile whose captions are the fake captioner's, four images to a block."""
    settings = (*CAPTIONS, f"models_folder={models}", *overrides)
    return load_profile("L1", home=home, overrides=settings, environ={})


def plain(colour: str, number: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """A PNG of one colour but for a mark that makes each number another content."""
    image = Image.new("RGB", size, COLOURS[colour])
    image.putpixel((number % size[0], number // size[0] % size[1]), (1, 2, 3))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def journal_of(path: Path) -> list[tuple[str, int]]:
    """Requests of the fake engine in their order, with how many it had then; `restart`, too."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return [(name, int(running)) for name, _, running in (line.partition(" ") for line in lines)]
