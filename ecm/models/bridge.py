"""Text to vv through named prototypes: what would an image look like that this text names?

Every class and every more general word above the classes has a direction in the space of the image
network's penultimate features, and every one of their names a MiniLM vector. Kernel ridge
regression from name vectors to directions answers for any text: a known name gets its own
direction, other texts a blend in which names that say the same are not counted twice. It
generalises ConSE (Norouzi et al. 2013, arXiv 1312.5650), where the blend is a softmax. Nothing is
known beyond these words: a text about none of them finds a weak blend.

Image features share a large common part. The caller, who has the mean vv vector from its snapshot,
subtracts it: score = query . normalised(vector - mean). Without that the scores mean little.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from ecm.contracts.identity import Contract, Digest
from ecm.contracts.result import Space
from ecm.contracts.task import TaskType
from ecm.errors import ManifestError
from ecm.models.base import Vectors, normalised
from ecm.models.lite0 import FEATURES, load_weights
from ecm.models.manifest import ModelManifest, VerifiedFiles
from ecm.models.minilm import open_sentences
from ecm.models.vocabulary import Vocabulary, load_vocabulary

Matrix = npt.NDArray[np.float32]


class BridgeParams(Contract):
    """How texts become directions.

    width: the kernel between texts is exp((cosine - 1) / width). noise: added to its diagonal, in
    units of a name's likeness to itself. spread: ridge of the directions of general words, in units
    of a class row's squared length. max_tokens: where texts are cut.
    """

    width: float = Field(default=0.2, gt=0, le=2)
    noise: float = Field(default=0.1, gt=0, le=10)
    spread: float = Field(default=3.0, gt=0, le=1000)
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
        self._params = manifest.params_as(BridgeParams)
        self._encoder = open_sentences(manifest, files, self._params.max_tokens, threads=threads)
        vocabulary = load_vocabulary(files["classes"], files["ancestors"])
        names, self._vectors = load_names(files["names"], self._encoder.dim)
        rows = load_weights(files["weights"]).rows.numpy()
        targets = name_directions(names, vocabulary, class_directions(rows), self._params.spread)
        self._blend = _regress(self._kernel(self._vectors), targets, self._params.noise)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """See `VisualQueryEncoder.embed_queries`; float32 (n, 1280)."""
        return normalised(
            self._kernel(self._encoder.encode_asked(texts, by=self)) @ self._blend
        ).vectors

    def _kernel(self, vectors: Matrix) -> Matrix:
        """Likeness of texts (n, 384) to the names, float32 (n, names), 1 for the same direction."""
        cosines: Matrix = vectors @ self._vectors.T
        likeness: Matrix = np.exp((cosines - np.float32(1.0)) / np.float32(self._params.width))
        return likeness


def load_names(table: Path, dim: int) -> tuple[list[str], Matrix]:
    """Names and their unit vectors, float32 (names, dim), from names.tsv. Raises ManifestError."""
    rows = [line.split("\t") for line in table.read_text("utf-8").splitlines()[1:]]
    try:
        raw = b"".join(base64.b64decode(vector, validate=True) for _, vector in rows)
        vectors = np.frombuffer(raw, dtype=np.int8).reshape(len(rows), dim)
    except (ValueError, binascii.Error) as error:
        raise ManifestError(f"{table} is not a table of names with {dim}-d vectors") from error
    return [name for name, _ in rows], normalised(vectors.astype(np.float32)).vectors


def class_directions(rows: Matrix) -> Matrix:
    """Rows of the classifier (1000, 1280) around their mean, at length 1."""
    return normalised(rows - rows.mean(axis=0)).vectors


def name_directions(
    names: Sequence[str], vocabulary: Vocabulary, classes: Matrix, spread: float
) -> Matrix:
    """For each name the normalised mean of the directions of all that bear it, (names, 1280).

    Raises ManifestError for a name that nothing in the vocabulary bears.
    """
    directions = np.vstack([classes, ancestor_directions(vocabulary.members, classes, spread)])
    bearers: dict[str, list[int]] = {}
    lemmas = [entry.lemmas for entry in vocabulary.classes]
    lemmas += [entry.lemmas for entry in vocabulary.ancestors]
    for place, names_here in enumerate(lemmas):
        for lemma in names_here:
            bearers.setdefault(lemma, []).append(place)
    missing = next((name for name in names if name not in bearers), None)
    if missing is not None:
        raise ManifestError(f"the vocabulary has nothing called {missing!r}")
    return normalised(np.array([directions[bearers[name]].mean(axis=0) for name in names])).vectors


def ancestor_directions(members: npt.NDArray[np.bool_], classes: Matrix, spread: float) -> Matrix:
    """Directions that tell the classes below each ancestor from all others, (ancestors, 1280).

    Ridge regression of membership on the class directions, members and others weighing the same in
    sum: nearer than their mean to what the members have in common and others lack.
    """
    inside = members.astype(np.float64)
    count = inside.sum(axis=1, keepdims=True)
    wanted = inside / count - (1.0 - inside) / np.maximum(inside.shape[1] - count, 1.0)
    wide = classes.astype(np.float64)
    gram = wide @ wide.T + spread * np.eye(len(wide))
    return normalised(np.linalg.solve(gram, wanted.T).T @ wide).vectors


def _regress(kernel: Matrix, targets: Matrix, noise: float) -> Matrix:
    """(K + noise I)^-1 Y: what each name contributes to the answer, float32 (names, 1280)."""
    noisy = torch.from_numpy(kernel + noise * np.eye(len(kernel), dtype=np.float32))
    factor = torch.linalg.cholesky(noisy)
    blend: Matrix = torch.cholesky_solve(torch.from_numpy(targets), factor).numpy()
    return blend
