"""What the tests of the real engine share; `make test-vllm` runs them where that is installed."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tests.tiny_vlm import make_tiny_vlm, write_manifest

collect_ignore = ["shim"]  # it is already at work, and may be so once only

REPO = Path(__file__).resolve().parents[2]
SETTINGS = (
    "models.vision=tiny-vlm",
    "models.vv=fake-image",
    "models.mv=fake-text",
    "pipeline.block_images=8",
    "pipeline.window_blocks=8",
    "pipeline.caption_blocks=3",
    "pipeline.commit_envelopes=48",
    "pipeline.commit_seconds=0.5",
)


@dataclass(frozen=True)
class Bench:
    """A folder of models with the tiny one among them, and how `ecm` is called with it."""

    models: Path
    folder: Path

    def command(self, *args: str) -> list[str]:
        """`ecm ARGS` in this environment, as a process may run it."""
        wanted = [part for text in SETTINGS for part in ("--set", text)]
        home = ["--home", str(self.folder / "home"), "--set", f"models_folder={self.models}"]
        return [str(Path(sys.executable).parent / "ecm"), *args, *home, *wanted]

    def index(self, photos: Path) -> dict[str, object]:
        """The summary of `ecm index`."""
        done = subprocess.run(
            self.command("index", str(photos), "--json"),
            capture_output=True,
            text=True,
            timeout=500,
            env=environment(),
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        summary: dict[str, object] = json.loads(done.stdout)
        return summary


def environment() -> dict[str, str]:
    """Processes find the repository and what lets torchvision be imported without a GPU."""
    path = [str(REPO), str(REPO / "tests" / "vllm" / "shim")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1"}


def picture(seed: int) -> bytes:
    """A PNG of rectangles and discs that no other seed gives."""
    drawn = random.Random(seed)
    image = Image.new("RGB", (256, 192), _colour(drawn))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        left, top = drawn.randrange(200), drawn.randrange(150)
        box = [left, top, left + drawn.randrange(20, 120), top + drawn.randrange(20, 90)]
        shape = draw.ellipse if drawn.random() < 0.5 else draw.rectangle
        shape(box, fill=_colour(drawn))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _colour(drawn: random.Random) -> tuple[int, int, int]:
    return drawn.randrange(256), drawn.randrange(256), drawn.randrange(256)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_vlm(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty-four pictures, no two alike."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(64):
        (folder / f"{number:02}.png").write_bytes(picture(number))
    return folder


@pytest.fixture(scope="session")
def make_bench(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Bench]:
    """A bench of its own for each call; keywords are `serving` of the manifest."""

    def make(**serving: object) -> Bench:
        folder = tmp_path_factory.mktemp("bench")
        models = folder / "models"
        shutil.copytree(REPO / "conf" / "models", models)
        shutil.copytree(REPO / "conf" / "prompts", folder / "prompts")
        write_manifest(checkpoint, models, folder / "prompts" / "caption-1.txt", **serving)
        return Bench(models, folder)

    return make
