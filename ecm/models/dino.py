"""DINOv2 and DINOv3: what a picture looks like without words, as x.

DINOv2 (Oquab et al. 2023, arXiv 2304.07193; with registers Darcet et al. 2023, arXiv 2309.16588),
DINOv3 (Siméoni et al. 2025, arXiv 2508.10104). The vector is the class token after the last norm,
or that followed by the mean of the patch tokens, as in the papers' linear probes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from ecm.contracts.identity import Contract
from ecm.contracts.result import Space
from ecm.contracts.task import TaskType
from ecm.models.base import ImageOutputs, Pixels, check_request, normalised
from ecm.models.manifest import ModelManifest, VerifiedFiles
from ecm.models.pixel_batches import PixelEncoder
from ecm.models.pretrained import check_width, checkpoint_folder, load_config, load_model
from ecm.models.torch_device import EncoderServing, place

KINDS = ("dinov2", "dinov2_with_registers", "dinov3_vit")


class DinoParams(Contract):
    """`cls`: the class token; `cls_mean`: it and the mean patch, twice as long."""

    pooling: Literal["cls", "cls_mean"] = "cls"


class Dino:
    """`ImageModel` of x."""

    def __init__(
        self,
        manifest: ModelManifest,
        files: VerifiedFiles,
        *,
        threads: int,
        memory: Path | None = None,
    ) -> None:
        self.manifest = manifest
        self._whole = manifest.params_as(DinoParams).pooling == "cls_mean"
        serving = manifest.serving_as(EncoderServing)
        placement = place(manifest, serving, threads)
        folder = checkpoint_folder(manifest, files)
        config = load_config(manifest, folder, KINDS)
        width = config.hidden_size * (2 if self._whole else 1)
        check_width(manifest, folder, manifest.space_dim(Space.X), width)
        # Patches follow the class token and the registers.
        self._first_patch = 1 + (getattr(config, "num_register_tokens", 0) or 0)
        self._model = load_model(manifest, folder, config, placement)
        self._pixels = PixelEncoder(manifest, folder, placement, serving, self._seen, width)
        self._pixels.settle(memory)

    def analyse(self, pixels: Pixels, wanted: frozenset[TaskType]) -> ImageOutputs:
        """See `ImageModel.analyse`."""
        check_request(self.manifest, pixels, wanted)
        return ImageOutputs(vectors={Space.X: normalised(self._pixels.features(pixels))})

    def _seen(self, pixels: torch.Tensor) -> torch.Tensor:
        tokens: torch.Tensor = self._model(pixel_values=pixels).last_hidden_state
        if not self._whole:
            return tokens[:, 0]
        patches = tokens[:, self._first_patch :].float().mean(dim=1)
        return torch.cat([tokens[:, 0].float(), patches], dim=1)
