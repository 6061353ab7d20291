"""How much model work is done twice when a run is killed at a random moment and run again?

    python benchmarks/resume.py [--draws 20] [--images 6000] [--block 32] [--seed 1]

Each draw indexes the same images into a new home with `ecm index` and the fake models, which count
what goes through them. When a random share of the images has, it kills in turns the driver alone, a
model actor, or all of Ray with the driver; then it runs the command again to the end, if need be.
Prints images through the models in all runs of a draw over those of one clean pass, and the
maximum. What is done twice is what was in flight between the models and the spool: at most a few
blocks and one commit batch, whatever the size of the set.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("driver", "actor", "all")
GOAL = 1.03


@dataclass(frozen=True)
class Setting:
    """One home, its images, and where the fake model counts."""

    photos: Path
    home: Path
    block: int

    @property
    def journal(self) -> Path:
        return self.home / "journal"

    @property
    def models(self) -> dict[str, object]:
        return {
            "models.vision": "fake-image",
            "models.vv": "fake-image",
            "models.mv": "fake-text",
            "models_folder": self.home / "models",
        }

    def start(self, *options: str) -> subprocess.Popen[str]:
        overrides = {
            **self.models,
            "pipeline.block_images": self.block,
            "pipeline.commit_envelopes": 4 * self.block,
            "pipeline.commit_seconds": 0.5,
            "pipeline.object_store_bytes": 200_000_000,
        }
        sets = [part for name, value in overrides.items() for part in ("--set", f"{name}={value}")]
        command = [sys.executable, "-m", "jobs.cli", "index", str(self.photos)]
        return subprocess.Popen(
            [*command, "--home", str(self.home), "--json", *sets, *options],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def modelled(self) -> int:
        """Images that have gone through the model so far, in all runs."""
        if not self.journal.exists():
            return 0
        return sum(int(line) for line in self.journal.read_text().splitlines())


def make(photos: Path, folder: Path, block: int) -> Setting:
    """A new home whose model manifests are the shipped ones, with a journal."""
    setting = Setting(photos, folder, block)
    shutil.copytree(ROOT / "conf" / "models", folder / "models")
    path = folder / "models" / "fake-image.yaml"
    manifest = yaml.safe_load(path.read_text())
    manifest["params"] = {"journal": str(setting.journal)}
    path.write_text(yaml.safe_dump(manifest))
    return setting


def draw_photos(folder: Path, count: int) -> None:
    """Small PNGs, no two alike."""
    folder.mkdir()
    for number in range(count):
        image = Image.new("RGB", (24, 24), (number % 251, number // 251 % 251, 120))
        image.putpixel((0, 0), (number % 256, number // 256 % 256, number // 65536))
        out = io.BytesIO()
        image.save(out, "PNG")
        (folder / f"{number:06d}.png").write_bytes(out.getvalue())


def finish(setting: Setting, *options: str) -> dict[str, Any]:
    """Run to the end. Exits when the run does not succeed."""
    process = setting.start(*options)
    out, _ = process.communicate()
    if process.returncode:
        sys.exit(f"a run ended with exit code {process.returncode}")
    summary: dict[str, Any] = json.loads(out)
    return summary


def kill_at(setting: Setting, kind: str, images: int) -> int | None:
    """Kill when `images` have gone through; the exit code of a run that lived on, or None."""
    process = setting.start()
    while setting.modelled() < images:
        if process.poll() is not None:
            sys.exit(f"the run ended early with exit code {process.returncode}")
        time.sleep(0.005)
    family = psutil.Process(process.pid).children(recursive=True)
    if kind == "actor":
        with suppress(psutil.NoSuchProcess):
            random.choice(actors_among(family)).kill()
        process.communicate()
        end(family)
        return process.returncode
    process.send_signal(signal.SIGKILL)
    if kind == "all":
        end(family)
    process.communicate()
    return None


def actors_among(family: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Ray workers that hold a model."""
    named = []
    for process in family:
        with suppress(psutil.NoSuchProcess):
            if "MapWorker" in " ".join(process.cmdline()):
                named.append(process)
    if not named:
        sys.exit("no model actor found among the processes of the run")
    return named


def end(family: Sequence[psutil.Process]) -> None:
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(family, timeout=5)


def one_draw(setting: Setting, kind: str, at: int, images: int) -> dict[str, Any]:
    """Images through the models in all runs of one draw; exits unless everything is stored."""
    code = kill_at(setting, kind, at)
    runs = 1
    if code != 0:
        summary = finish(setting)
        runs += 1
        if summary["committed"] + summary["reused"] != images or summary["problems"]:
            sys.exit(f"not everything is stored: {summary}")
    return {"kind": kind, "killed_at": at, "runs": runs, "images": setting.modelled()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--block", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    random.seed(options.seed)
    with tempfile.TemporaryDirectory(prefix="ecm-resume-") as name:
        folder = Path(name)
        draw_photos(folder / "photos", options.images)
        (folder / "clean").mkdir()
        clean = make(folder / "photos", folder / "clean", options.block)
        summary = finish(clean)
        base = clean.modelled()
        print(f"clean pass: {base} images through the models in {summary['seconds']:.0f} s")
        ratios = []
        for draw in range(options.draws):
            home = folder / f"draw-{draw}"
            home.mkdir()
            setting = make(folder / "photos", home, options.block)
            at = random.randint(base // 20, base * 19 // 20)
            told = one_draw(setting, KINDS[draw % len(KINDS)], at, options.images)
            ratios.append(told["images"] / base)
            print(json.dumps({"draw": draw, **told, "ratio": round(ratios[-1], 4)}), flush=True)
            shutil.rmtree(home)
    worst = max(ratios)
    print(f"ratio: median {statistics.median(ratios):.4f}, maximum {worst:.4f} (goal {GOAL})")
    sys.exit(worst > GOAL)


if __name__ == "__main__":
    main()
