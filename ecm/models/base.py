"""What a model is to the rest of ecm: protocols, their outputs, and the one way to normalise
vectors.

Knows shapes and units. Knows no model library and no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ecm.contracts.identity import Digest
from ecm.contracts.result import LabelStatement, Space, TextStatement
from ecm.contracts.task import TaskType
from ecm.errors import ContractError
from ecm.models.manifest import ModelManifest

Vectors = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Normalised:
    """`vectors`: float32 (n, d) of L2 length 1; `norms`: float64 (n,), the lengths before."""

    vectors: Vectors
    norms: npt.NDArray[np.float64]


@dataclass(frozen=True)
class ImageOutputs:
    """What an image model says about n images, in the order given.

    A list that is empty was not asked for; one that was asked for has n entries. `vectors` has the
    spaces that were wanted, n rows each.
    """

    captions: Sequence[TextStatement | None] = ()
    tags: Sequence[tuple[LabelStatement, ...]] = ()
    classification: Sequence[tuple[LabelStatement, ...]] = ()
    ocr: Sequence[tuple[TextStatement, ...]] = ()
    vectors: Mapping[Space, Normalised] = field(default_factory=dict)


class ImageModel(Protocol):
    """Looks at images. One forward pass serves everything that is wanted."""

    @property
    def manifest(self) -> ModelManifest: ...

    def analyse(self, pixels: Pixels, wanted: frozenset[TaskType]) -> ImageOutputs:
        """Analyses uint8 RGB pixels (n, h, w, 3), cut as the manifest's preprocessing says; n may
        be 0.

        `wanted` is a non-empty subset of what the manifest provides. Raises ContractError for other
        shapes or wishes and for images without a usable vector, ResourceExhausted when the device
        has no memory.
        """
        ...


class TextEmbedder(Protocol):
    """Brings texts into the meaning space mv."""

    @property
    def manifest(self) -> ModelManifest: ...

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Texts to be found: float32 (n, d), L2-normalised, a row per text, empty ones included."""
        ...

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Texts to find by, in the same space: a model may read them with an instruction before."""
        ...


class PairScorer(Protocol):
    """Reads a query and a text together."""

    @property
    def manifest(self) -> ModelManifest: ...

    def score_pairs(self, query: str, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """How well each text answers the query: float64 (n,) in [0, 1], n may be 0.

        Raises ResourceExhausted when the device has no memory.
        """
        ...


@runtime_checkable
class VisualQueryEncoder(Protocol):
    """Brings query texts into a visual space vv. An image model may be one itself.

    `reaches` is the fingerprint of the vv transform whose vectors the result may be compared with;
    `fingerprint` names this encoder itself.
    """

    @property
    def manifest(self) -> ModelManifest: ...

    @property
    def reaches(self) -> Digest: ...

    @property
    def fingerprint(self) -> Digest: ...

    @property
    def centred(self) -> bool:
        """True: compare with image vectors from which the mean image vector was subtracted.

        The caller has the mean from the snapshot: score = query . normalised(vector - mean).
        """
        ...

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """float32 (n, vv dim), L2-normalised."""
        ...


def normalised(matrix: npt.NDArray[np.floating]) -> Normalised:
    """Rows of an (n, d) matrix at L2 length 1, computed in float64.

    Raises ContractError for a row that is zero or not finite: a failing model never yields a
    vector.

    >>> normalised(np.array([[3.0, 4.0]], dtype=np.float32)).norms.tolist()
    [5.0]
    """
    if matrix.ndim != 2:
        raise ContractError(f"expected a matrix (n, d), got shape {matrix.shape}", "vector.shape")
    wide = matrix.astype(np.float64)
    if not np.isfinite(wide).all():
        row = int(np.flatnonzero(~np.isfinite(wide).all(axis=1))[0])
        raise ContractError(f"vector {row} has non-finite values", "vector.not_finite")
    norms = np.linalg.norm(wide, axis=1)
    if (norms < np.finfo(np.float32).tiny).any():
        row = int(np.argmin(norms))
        raise ContractError(f"vector {row} is zero and has no direction", "vector.zero")
    return Normalised((wide / norms[:, None]).astype(np.float32), norms)


def check_request(manifest: ModelManifest, pixels: Pixels, wanted: frozenset[TaskType]) -> None:
    """Raises ContractError unless `pixels` and `wanted` are what the manifest's model takes."""
    cut = manifest.preprocessing
    expected = (cut.crop, cut.crop, 3) if cut is not None else None
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or expected not in (None, pixels.shape[1:]):
        raise ContractError(
            f"model {manifest.name} takes uint8 pixels of shape (n, {expected}), "
            f"got {pixels.dtype} {pixels.shape}",
            "model.pixels",
        )
    if not wanted or not wanted <= set(manifest.provides):
        names = ", ".join(sorted(task.value for task in wanted)) or "nothing"
        raise ContractError(f"model {manifest.name} cannot provide {names}", "model.wanted")
