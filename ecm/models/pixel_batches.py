"""From cut pixels to a network's features: normalised on the device, in batches of a fit size.

What the encoders that look at pictures have in common. Knows pixels and batches; the network is a
function it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ecm.models.base import Pixels
from ecm.models.batch_size import best_batch_size, median_seconds, remembered_batch_size
from ecm.models.manifest import ModelManifest
from ecm.models.processor_config import check_preprocessing
from ecm.models.torch_device import CPU_BATCH, EncoderServing, Placement, Runner, sliced


class PixelEncoder:
    """Runs `network` (normalised pixels (n, 3, side, side) to features (n, width)) over pictures.

    Raises ManifestMismatch when the checkpoint in `folder` wants other pixels than the manifest
    says.
    """

    def __init__(
        self,
        manifest: ModelManifest,
        folder: Path,
        placement: Placement,
        serving: EncoderServing,
        network: Callable[[torch.Tensor], torch.Tensor],
        width: int,
    ) -> None:
        cut = check_preprocessing(manifest, folder)
        self._manifest = manifest
        self._placement = placement
        self._serving = serving
        self._network = network
        self._side, self._width = cut.crop, width
        shape = {"dtype": torch.float32, "device": placement.device}
        self._mean = torch.tensor(cut.mean, **shape).reshape(1, 3, 1, 1)
        self._std = torch.tensor(cut.std, **shape).reshape(1, 3, 1, 1)
        self._runner = Runner(placement, serving.prefetch)
        self.batch_size = serving.batch_size or CPU_BATCH

    def settle(self, memory: Path | None) -> None:
        """Finds the batch size on a GPU whose number neither the manifest nor `memory` says.

        Raises ResourceExhausted when not even one picture fits.
        """
        if self._serving.batch_size or not self._placement.on_gpu:
            return
        self.batch_size = remembered_batch_size(
            memory, self._manifest, self._placement.name, lambda: best_batch_size(self._seconds)
        )

    def features(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """float32 (n, width) of uint8 pixels (n, side, side, 3); not normalised."""
        return self._runner.run(self._forward, sliced([pixels], self.batch_size), self._width)

    def _forward(self, pixels: torch.Tensor) -> torch.Tensor:
        # Three bytes a pixel travel to the device, and become numbers there.
        values = (pixels.permute(0, 3, 1, 2).float() - self._mean) / self._std
        return self._network(values.to(self._placement.dtype).contiguous())

    def _seconds(self, size: int) -> float:
        """Median seconds of a forward pass over `size` pictures, copies included."""
        pixels = np.zeros((size, self._side, self._side, 3), dtype=np.uint8)
        return median_seconds(lambda: self._runner.run(self._forward, [[pixels]], self._width))
