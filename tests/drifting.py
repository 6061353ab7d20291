"""Profiles whose fake image model ships with golden probes and drifts while a file says so."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from ecm.config import Profile, load_profile
from ecm.models.manifest import ModelManifest, load_manifest
from ecm.models.pinned_files import Standing, with_probes, write_manifest
from ecm.stages.golden import record
from tests.factories import FAKE_MODELS

MODELS = Path(__file__).resolve().parents[1] / "conf" / "models"
BLOCK, EVERY, SOUND = 4, 8, 16
"""Images in a block, between probes, and those the model sees before it drifts: its four probe
pictures, two blocks of four, and the probe pictures once more.
"""


@dataclass(frozen=True)
class Drifting:
    """A folder of manifests, and the file that makes its fake-image drift."""

    folder: Path
    switch: Path

    def drift(self, after: int = SOUND) -> None:
        self.switch.write_text(str(after))

    def mend(self) -> None:
        self.switch.unlink()

    def settings(self) -> list[str]:
        return [
            *FAKE_MODELS,
            f"models_folder={self.folder}",
            f"pipeline.block_images={BLOCK}",
            f"pipeline.probe_images={EVERY}",
            "pipeline.commit_seconds=0.1",
        ]

    def profile(self, home: Path) -> Profile:
        return load_profile("L1", home=home, overrides=self.settings(), environ={})


def drifting(folder: Path) -> Drifting:
    """Manifests with probes recorded while the model is sound."""
    models = folder / "models"
    models.mkdir(parents=True)
    for name in ("fake-text", "fake-query", "structure"):
        shutil.copy(MODELS / f"{name}.yaml", models)
    made = Drifting(models, folder / "drifts")
    plain = load_manifest(MODELS / "fake-image.yaml")
    params = {**plain.params, "drifts_by": str(made.switch)}
    manifest: ModelManifest = plain.model_copy(update={"params": params})
    out = models / "fake-image.yaml"
    manifest = with_probes(manifest, record(manifest, 1), out, Standing.KEEP)
    write_manifest(manifest, out, Standing.KEEP)
    return made
