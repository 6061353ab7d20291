"""EfficientNet-Lite0 as an image model: class probabilities as statements, penultimate features as
vv.

Knows how pixels become the network's input and outputs become ImageOutputs. The graph is in
lite0.py, the words in labelling.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from ecm.contracts.result import Space
from ecm.contracts.task import TaskType
from ecm.errors import ManifestError, ResourceExhausted
from ecm.models.base import ImageOutputs, Pixels, check_request, normalised
from ecm.models.labelling import LabellingParams, label, softmax
from ecm.models.lite0 import FEATURES, SIDE, fastest_network, load_weights
from ecm.models.manifest import ModelManifest, VerifiedFiles
from ecm.models.vocabulary import load_vocabulary

# Four images at a time keep the activations in the cache: on two cores twice as fast as 32.
GROUP = 4


class EfficientNetLite0:
    """`ImageModel` over the packaged weights; vision and vv from one forward pass."""

    def __init__(self, manifest: ModelManifest, files: VerifiedFiles, *, threads: int) -> None:
        cut = manifest.preprocessing
        if cut is None or cut.crop != SIDE or manifest.dims.get(Space.VV) != FEATURES:
            raise ManifestError(
                f"manifest {manifest.name}: EfficientNet-Lite0 needs preprocessing with a crop of "
                f"{SIDE} and {FEATURES} vv dimensions"
            )
        self.manifest = manifest
        self._labelling = manifest.params_as(LabellingParams, TaskType.VISION)
        self._vocabulary = load_vocabulary(files["classes"], files["ancestors"])
        self._mean = torch.tensor(cut.mean).reshape(1, 3, 1, 1)
        self._std = torch.tensor(cut.std).reshape(1, 3, 1, 1)
        torch.set_num_threads(threads)
        with torch.inference_mode():
            self._network = fastest_network(load_weights(files["weights"]), GROUP)

    def analyse(self, pixels: Pixels, wanted: frozenset[TaskType]) -> ImageOutputs:
        """See `ImageModel.analyse`; pixels are (n, 224, 224, 3)."""
        check_request(self.manifest, pixels, wanted)
        features, logits = self._forward(pixels)
        labels = []
        if TaskType.VISION in wanted:
            probabilities = softmax(logits, self._labelling.temperature)
            labels = [label(self._vocabulary, row, self._labelling) for row in probabilities]
        return ImageOutputs(
            captions=[entry.caption for entry in labels],
            tags=[entry.tags for entry in labels],
            classification=[entry.classification for entry in labels],
            vectors={Space.VV: normalised(features)} if TaskType.VV_EMBED in wanted else {},
        )

    def _forward(self, pixels: Pixels) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        features = np.empty((len(pixels), FEATURES), dtype=np.float32)
        logits = np.empty((len(pixels), 1000), dtype=np.float32)
        try:
            with torch.inference_mode():
                for start in range(0, len(pixels), GROUP):
                    group = slice(start, start + GROUP)
                    # Rows of RGB pixels seen as channels-last planes: no copy in another order.
                    images = torch.from_numpy(np.ascontiguousarray(pixels[group])).permute(
                        0, 3, 1, 2
                    )
                    found = self._network((images.float() - self._mean) / self._std)
                    features[group], logits[group] = (part.numpy() for part in found)
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise ResourceExhausted(
                f"no memory for the forward pass: {error}", "resource.memory"
            ) from error
        return features, logits
