"""Deterministic stand-ins for models: no weights, no torch, tiny dimensions, and sense enough to
search by.

The fake image model sees nothing but mean colour; the fake text embedder knows only which words
occur; the fake query encoder knows the names of the colours. Each is a pure function of its input,
shipped so that pipelines, profiles and searches can be tried in milliseconds. What a run puts
through its models can be counted: the fake image model keeps a journal where its manifest says so.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ecm.contracts.identity import Contract, Digest
from ecm.contracts.result import LabelStatement, Space, TextStatement
from ecm.contracts.task import TaskType
from ecm.models.base import ImageOutputs, Pixels, Vectors, check_request, normalised
from ecm.models.manifest import ModelManifest, VerifiedFiles

COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (40, 70, 210),
    "yellow": (235, 220, 50),
    "black": (15, 15, 15),
    "white": (240, 240, 240),
    "grey": (128, 128, 128),
    "brown": (120, 75, 40),
}
FAKE_SCHEME = "fake-colours"
_ANCHORS = np.array(list(COLOURS.values()), dtype=np.float64)
_SOFTNESS = 60.0


class FakeParams(Contract):
    """`journal`: a local file that gets a line per call with its number of images; "": none.

    `empty_share` is the share of pictures that get no caption, the same ones each time.
    `drifts_by` is a local file: while it is there the model says something else once it has seen as
    many images as stand in it, so that one manifest can be sound and drift.
    """

    journal: str = ""
    drifts_by: str = ""
    empty_share: float = Field(default=0.0, ge=0, le=1)


class FakeImageModel:
    """`ImageModel` whose tags are colours and whose vv is the closeness to each of them."""

    def __init__(self, manifest: ModelManifest, files: VerifiedFiles, *, threads: int) -> None:
        self.manifest = manifest
        params = manifest.params_as(FakeParams)
        self._journal = params.journal
        self._empty_share = params.empty_share
        self._drifts_by = params.drifts_by
        self._seen = 0
        self._dim = manifest.space_dim(Space.VV)

    def analyse(self, pixels: Pixels, wanted: frozenset[TaskType]) -> ImageOutputs:
        """See `ImageModel.analyse`."""
        check_request(self.manifest, pixels, wanted)
        if self._journal:
            with open(self._journal, "ab", buffering=0) as journal:  # one write: lines stay whole
                journal.write(f"{len(pixels)}\n".encode())
        near = closeness(pixels.mean(axis=(1, 2), dtype=np.float64))
        if self._drifted(len(pixels)):
            near = np.roll(near, 1, axis=1)
        tags = [_tags(row) for row in near]
        if TaskType.VISION not in wanted:
            tags = []
        looks = TaskType.VV_EMBED in wanted
        return ImageOutputs(
            captions=[self._said(pixels[i], row[0]) for i, row in enumerate(tags)],
            tags=tags,
            classification=[row[:1] for row in tags],
            vectors={Space.VV: normalised(_padded(near, self._dim))} if looks else {},
        )

    def _said(self, picture: Pixels, nearest: LabelStatement) -> TextStatement | None:
        share = self._empty_share
        return None if share and chance(picture, "empty") < share else _caption(nearest)

    def _drifted(self, images: int) -> bool:
        self._seen += images
        if not self._drifts_by or not os.path.exists(self._drifts_by):
            return False
        with open(self._drifts_by, encoding="ascii") as told:
            return self._seen > int(told.read())


class FakeTextEmbedder:
    """`TextEmbedder` in which every word is a fixed direction drawn from its hash."""

    def __init__(self, manifest: ModelManifest, files: VerifiedFiles, *, threads: int) -> None:
        self.manifest = manifest
        self._dim = manifest.space_dim(Space.MV)

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """See `TextEmbedder.embed_texts`."""
        rows = [sum((_direction(w, self._dim) for w in _words(t)), _bias(self._dim)) for t in texts]
        return normalised(np.array(rows).reshape(len(texts), self._dim)).vectors

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """See `TextEmbedder.embed_queries`."""
        return self.embed_texts(texts)


class FakeQueryEncoder:
    """`VisualQueryEncoder` that knows the names of the colours."""

    centred = False

    def __init__(
        self,
        manifest: ModelManifest,
        files: VerifiedFiles,
        *,
        reaches: ModelManifest,
        threads: int,
    ) -> None:
        self.manifest = manifest
        self.reaches: Digest = reaches.fingerprint(TaskType.VV_EMBED)
        self.fingerprint: Digest = manifest.encoder_fingerprint(self.reaches)
        self._dim = reaches.space_dim(Space.VV)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """See `VisualQueryEncoder.embed_queries`."""
        rows = np.full((len(texts), len(COLOURS)), 1e-3)
        for row, text in zip(rows, texts, strict=True):
            words = set(_words(text))
            row += [float(colour in words) for colour in COLOURS]
        return normalised(_padded(rows, self._dim)).vectors


def closeness(means: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Softmax over minus the distance to each colour; rows sum to 1."""
    distance = np.linalg.norm(means[:, None, :] - _ANCHORS[None, :, :], axis=2)
    weights = np.exp(-(distance - distance.min(axis=1, keepdims=True)) / _SOFTNESS)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def chance(pixels: Pixels, flaw: str) -> float:
    """Where a picture stands in [0, 1) by a hash of its pixels, for each flaw anew."""
    mark = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).digest()
    return int.from_bytes(hashlib.sha256(mark + flaw.encode()).digest()[:8]) / 2**64


def _tags(row: npt.NDArray[np.float64]) -> tuple[LabelStatement, ...]:
    names = list(COLOURS)
    return tuple(
        LabelStatement(label=names[place], confidence=float(row[place]), scheme=FAKE_SCHEME)
        for place in np.argsort(-row, kind="stable")[:3]
    )


def _caption(tag: LabelStatement) -> TextStatement:
    return TextStatement(
        text=f"a mostly {tag.label} picture", confidence=tag.confidence, composed=True
    )


def _padded(rows: npt.NDArray[np.float64], dim: int) -> npt.NDArray[np.float64]:
    """Rows cut or filled with a small constant to `dim` columns."""
    filled = np.full((len(rows), dim), 1e-3)
    width = min(dim, rows.shape[1])
    filled[:, :width] = rows[:, :width]
    return filled


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _bias(dim: int) -> npt.NDArray[np.float64]:
    return np.full(dim, 1e-3)


def _direction(word: str, dim: int) -> npt.NDArray[np.float64]:
    seed = int.from_bytes(hashlib.sha256(word.encode("utf-8", "surrogatepass")).digest()[:8])
    return np.random.default_rng(seed).standard_normal(dim)
