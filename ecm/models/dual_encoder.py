"""Pictures and texts in one space: SigLIP, SigLIP 2 (of one resolution) and CLIP.

One model is both the image model of vv and the query encoder into it. Texts are prepared as each
family was trained: SigLIP (Zhai et al. 2023, arXiv 2303.15343) and SigLIP 2 (Tschannen et al. 2025,
arXiv 2502.14786) with 64 tokens, padded, without a mask; CLIP (Radford et al. 2021, arXiv
2103.00020) with a mask. SigLIP 2 of variable resolution (model type `siglip2`) is not supported.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from ecm.contracts.identity import Contract, Digest
from ecm.contracts.result import Space
from ecm.contracts.task import TaskType
from ecm.errors import ManifestMismatch
from ecm.models.base import ImageOutputs, Pixels, Vectors, check_request, normalised
from ecm.models.manifest import ModelManifest, VerifiedFiles
from ecm.models.pixel_batches import PixelEncoder
from ecm.models.pretrained import (
    check_width,
    checkpoint_folder,
    load_config,
    load_model,
    load_tokenizer,
    readable,
)
from ecm.models.torch_device import EncoderServing, Runner, place, sliced

KINDS = ("siglip", "clip")


class DualParams(Contract):
    """Texts are cut at `max_tokens` tokens; 0: at what the model has positions for. `lowercase`:
    they are brought to lower case first, on which SigLIP 2 was trained.
    """

    max_tokens: int = Field(default=0, ge=0, le=512)
    lowercase: bool = False


class DualEncoder:
    """`ImageModel` of vv and `VisualQueryEncoder` into it."""

    centred = False

    def __init__(
        self,
        manifest: ModelManifest,
        files: VerifiedFiles,
        *,
        threads: int,
        memory: Path | None = None,
    ) -> None:
        self.manifest = manifest
        self._params = manifest.params_as(DualParams)
        serving = manifest.serving_as(EncoderServing)
        placement = place(manifest, serving, threads)
        folder = checkpoint_folder(manifest, files)
        config = load_config(manifest, folder, KINDS)
        self._width = manifest.space_dim(Space.VV)
        check_width(manifest, folder, self._width, _width(config))
        self._masked = config.model_type == "clip"
        self._positions = config.text_config.max_position_embeddings
        self._tokenizer = load_tokenizer(manifest, folder)
        self._model = load_model(manifest, folder, config, placement)
        self._pixels = PixelEncoder(manifest, folder, placement, serving, self._seen, self._width)
        self._pixels.settle(memory)
        self._runner = Runner(placement, serving.prefetch)

    @property
    def reaches(self) -> Digest:
        """The vv transform that this model makes itself."""
        return self.manifest.fingerprint(TaskType.VV_EMBED)

    @property
    def fingerprint(self) -> Digest:
        return self.manifest.encoder_fingerprint(self.reaches)

    def analyse(self, pixels: Pixels, wanted: frozenset[TaskType]) -> ImageOutputs:
        """See `ImageModel.analyse`."""
        check_request(self.manifest, pixels, wanted)
        return ImageOutputs(vectors={Space.VV: normalised(self._pixels.features(pixels))})

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """See `VisualQueryEncoder.embed_queries`."""
        if not texts:
            return np.empty((0, self._width), dtype=np.float32)
        asked = readable(texts)
        if self._params.lowercase:
            asked = [text.lower() for text in asked]
        length = min(self._params.max_tokens or self._positions, self._positions)
        tokens = self._tokenizer(
            asked,
            padding="longest" if self._masked else "max_length",
            truncation=True,
            max_length=length,
            return_tensors="np",
        )
        inputs: list[npt.NDArray[np.int64]] = [tokens["input_ids"]]
        if self._masked:
            inputs.append(tokens["attention_mask"])
        batches = sliced(inputs, self._pixels.batch_size)
        return normalised(self._runner.run(self._read, batches, self._width)).vectors

    def _seen(self, pixels: torch.Tensor) -> torch.Tensor:
        return _features(self._model.get_image_features(pixel_values=pixels))

    def _read(self, ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        return _features(self._model.get_text_features(input_ids=ids, attention_mask=mask))


def dual_query_encoder(
    manifest: ModelManifest,
    files: VerifiedFiles,
    *,
    reaches: ModelManifest,
    threads: int,
    memory: Path | None = None,
) -> DualEncoder:
    """The model as a query encoder into its own space. Raises ManifestMismatch for another one."""
    if manifest.fingerprint(TaskType.VV_EMBED) != reaches.fingerprint(TaskType.VV_EMBED):
        raise ManifestMismatch(
            f"query encoder {manifest.name} speaks of its own vectors, not of those of "
            f"{reaches.name}",
            hint=f"query_encoder: {reaches.name} in the manifest of {reaches.name}",
        )
    return DualEncoder(manifest, files, threads=threads, memory=memory)


def _width(config: Any) -> int:
    """How long the vectors of a configuration's model are."""
    if config.model_type == "clip":
        return int(config.projection_dim)
    return int(config.vision_config.hidden_size)


def _features(said: Any) -> torch.Tensor:
    """Releases of transformers differ in whether the vectors come alone."""
    features: torch.Tensor = getattr(said, "pooler_output", said)
    return features
