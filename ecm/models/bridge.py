"""Text to vv through class prototypes: which classes does a text speak of, and how do those look?

A text is compared by MiniLM with the names of the 1,000 ImageNet classes; the softmax over the
similarities mixes the rows of the image classifier, each centred on their mean and normalised. The
rows live in the space of the penultimate features, so the mix is a direction in vv. Convex
combination of class prototypes as in ConSE (Norouzi et al. 2013, arXiv 1312.5650), with text
similarity in place of class scores. Knows nothing beyond the thousand classes: a text about none of
them finds a weak mixture.

Image features all share a large common part. The caller, who has the mean vv vector from its
snapshot, subtracts it: score = query . normalised(vector - mean). Without that the scores mean
little.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ecm.contracts.identity import Contract, Digest
from ecm.contracts.result import Space
from ecm.contracts.task import TaskType
from ecm.errors import ManifestError
from ecm.models.base import Vectors, normalised
from ecm.models.labelling import softmax
from ecm.models.lite0 import FEATURES, load_weights
from ecm.models.manifest import ModelManifest, VerifiedFiles
from ecm.models.minilm import SentenceEncoder
from ecm.models.vocabulary import load_vocabulary


class BridgeParams(Contract):
    """How texts become classes.

    prompt: put before names and queries, `{}` is the text. temperature: divides cosine similarities
    before the softmax. max_tokens: where texts are cut.
    """

    prompt: str = "a photo of a {}"
    temperature: float = Field(default=0.05, gt=0, le=1)
    max_tokens: int = Field(default=256, ge=8, le=512)


class ClassBridge:
    """`VisualQueryEncoder` into the vv space of EfficientNet-Lite0."""

    centred = True

    def __init__(
        self,
        manifest: ModelManifest,
        files: VerifiedFiles,
        *,
        reaches: ModelManifest,
        threads: int,
    ) -> None:
        if reaches.space_dim(Space.VV) != FEATURES:
            raise ManifestError(f"query encoder {manifest.name} cannot reach {reaches.name}")
        self.manifest = manifest
        self.reaches: Digest = reaches.fingerprint(TaskType.VV_EMBED)
        self.fingerprint: Digest = manifest.encoder_fingerprint(self.reaches)
        self._params = BridgeParams.model_validate(manifest.params)
        self._encoder = SentenceEncoder(manifest, files, threads=threads)
        self._prototypes = _prototypes(load_weights(files["weights"]).rows.numpy())
        vocabulary = load_vocabulary(files["classes"], files["ancestors"])
        names = [self._prompt(entry.lemmas[0]) for entry in vocabulary.classes]
        self._names = self._encoder.encode(names)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """See `VisualQueryEncoder.embed_queries`; float32 (n, 1280)."""
        asked = self._encoder.encode([self._prompt(text) for text in texts])
        weights = softmax(asked @ self._names.T, self._params.temperature)
        return normalised(weights @ self._prototypes).vectors

    def _prompt(self, text: str) -> str:
        return self._params.prompt.replace("{}", text)


def _prototypes(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Classifier rows (1000, 1280) around their mean, at length 1."""
    return normalised(rows - rows.mean(axis=0)).vectors.astype(np.float64)
