"""From a question to query vectors, one per vector axis.

Knows models, pixels and which transform each vector may be compared with; knows no index. The
protocol is what the engine sees, in one process (`LocalEncoder`) as behind a Ray Serve handle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ecm.contracts.result import Space
from ecm.contracts.search import Axis, LostReason
from ecm.contracts.task import TaskType
from ecm.errors import ContractError, EcmError, ImageError, ManifestError
from ecm.images.cuts import Cut, cut
from ecm.images.decode import DecodedImage, decode
from ecm.images.limits import ImageLimits
from ecm.images.structure import structure_descriptor
from ecm.models.base import ImageModel, ImageOutputs, TextEmbedder, VisualQueryEncoder, normalised
from ecm.models.manifest import ModelManifest
from ecm.models.meaning import meaning_text
from ecm.search.layout import read_layout

Vector = npt.NDArray[np.float32]

MODEL_FAILURES = (EcmError, RuntimeError, MemoryError)
"""What a model raises when it cannot answer: ours, those of torch and onnxruntime, no memory."""

NO_ENCODER = {
    Axis.VV: "no model of this service brings the query into the visual space",
    Axis.X: "the words of the query name nothing that can be drawn",
    Axis.MV: "no model of this service brings the query into the meaning space",
}
NO_WORDS_FOR_LOOKS = "texts do not reach x, which is what a network sees here: ask with an image"
INDEXED_SHORTER_SIDE = 256
"""Shorter side in pixels that indexing decodes to at least (its thumbnail): queries do the same."""


@dataclass(frozen=True)
class EncodingRequest:
    """What to encode: an image brings vv and x, text mv; alone, each brings all three."""

    axes: frozenset[Axis]
    text: str | None = None
    image: bytes | None = None


@dataclass(frozen=True)
class AxisVector:
    """A query vector, float32 (d,) of length 1, and the transform it may be compared with.

    `centred`: compare with stored vectors from which the mean of the tenant was subtracted.
    """

    values: Vector
    transform: str
    centred: bool = False


@dataclass(frozen=True)
class EncodedQuery:
    """Vectors by axis; for an axis that has none, the reason. `refused`: the query is at fault.

    `code` is the kind of all its failures: of models, or of the way to them.
    """

    vectors: Mapping[Axis, AxisVector] = field(default_factory=dict)
    failures: Mapping[Axis, str] = field(default_factory=dict)
    code: LostReason = LostReason.MODEL_FAILED
    refused: ImageError | None = None


class QueryEncoder(Protocol):
    """Encodes questions, several at once, in the order given."""

    def encode(self, requests: Sequence[EncodingRequest]) -> list[EncodedQuery]: ...


@dataclass(frozen=True)
class QueryModels:
    """The models a question may need. None: the profile names none, and the axis says so.

    `image_speaks`: the image model is also the one whose words the meaning vectors were made of, so
    that an image alone can be asked for on mv, through what the model says of it. `look` makes x
    where x comes of a network: then images alone reach it; None: x is the structure descriptor.
    """

    image: ImageModel | None
    visual_text: VisualQueryEncoder | None
    meaning: TextEmbedder | None
    image_speaks: bool = False
    look: ImageModel | None = None


class LocalEncoder:
    """A `QueryEncoder` on models in this process.

    `transforms` are the fingerprints of the indexing transforms that these same models make, by
    axis: the engine compares them with the snapshot's. `missing` says why an axis has no model.
    """

    def __init__(
        self,
        models: QueryModels,
        transforms: Mapping[Axis, str],
        limits: ImageLimits,
        missing: Mapping[Axis, str] | None = None,
    ) -> None:
        self._models = models
        self._transforms = dict(transforms)
        self._limits = limits
        self._missing = dict(missing or {})
        if models.look is not None:
            self._missing[Axis.X] = NO_WORDS_FOR_LOOKS

    def reaches(self) -> dict[Axis, str]:
        """The transform that query vectors may be compared with, per axis that has a model."""
        models = self._models
        here = {Axis.VV: models.image or models.visual_text, Axis.MV: models.meaning, Axis.X: True}
        return {axis: mark for axis, mark in self._transforms.items() if here.get(axis)}

    def encode(self, requests: Sequence[EncodingRequest]) -> list[EncodedQuery]:
        """One outcome per request; all texts share one forward pass per model, so do all images."""
        drafts = [_Draft(request) for request in requests]
        self._encode_images(drafts)
        if self._models.look is None:
            self._draw([draft for draft in drafts if draft.wants_text(Axis.X)])
        meaning, visual = self._models.meaning, self._models.visual_text
        texts = [draft for draft in drafts if draft.wants_text(Axis.MV)]
        if meaning is not None:
            self._encode_texts(texts, Axis.MV, meaning.embed_queries, centred=False)
        texts = [draft for draft in drafts if draft.wants_text(Axis.VV)]
        if visual is not None:
            self._encode_texts(texts, Axis.VV, visual.embed_queries, centred=visual.centred)
        return [draft.finished(self._missing) for draft in drafts]

    def _encode_texts(
        self,
        drafts: Sequence[_Draft],
        axis: Axis,
        embed: Callable[[Sequence[str]], Vector],
        *,
        centred: bool,
    ) -> None:
        if not drafts or axis not in self._transforms:
            return
        try:
            rows = normalised(embed([draft.text for draft in drafts])).vectors
        except MODEL_FAILURES as error:
            for draft in drafts:
                draft.failures[axis] = _reason(error)
            return
        for draft, row in zip(drafts, rows, strict=True):
            draft.vectors[axis] = AxisVector(row, self._transforms[axis], centred)

    def _encode_images(self, drafts: Sequence[_Draft]) -> None:
        decoded: list[tuple[_Draft, DecodedImage]] = []
        for draft in drafts:
            if draft.request.image is None:
                continue
            try:
                image = decode(draft.request.image, self._limits, self._shorter_side())
            except ImageError as error:
                draft.refused = error
                continue
            decoded.append((draft, image))
        asked = [each for each in decoded if Axis.X in each[0].request.axes]
        if asked and Axis.X in self._transforms:
            self._describe(asked)
        if decoded and self._models.image is not None:
            self._look(decoded, self._models.image)

    def _draw(self, drafts: Sequence[_Draft]) -> None:
        """Texts in the structure space, as far as their words can be drawn."""
        for draft in drafts:
            layout = read_layout(draft.text)
            if layout is not None and Axis.X in self._transforms:
                draft.vectors[Axis.X] = AxisVector(layout.vector(), self._transforms[Axis.X])

    def _describe(self, seen: Sequence[tuple[_Draft, DecodedImage]]) -> None:
        """The x of images, as it was indexed: through a network, or the structure descriptor."""
        if self._models.look is not None:
            wanted = frozenset({TaskType.X_EMBED})
            self._outputs(seen, self._models.look, wanted, Axis.X)
            return
        for draft, image in seen:
            try:
                raw = structure_descriptor(image.pixels, image.width, image.height)
                row = normalised(raw[None, :]).vectors[0]
            except EcmError as error:
                draft.failures[Axis.X] = _reason(error)
                continue
            draft.vectors[Axis.X] = AxisVector(row, self._transforms[Axis.X])

    def _look(self, seen: Sequence[tuple[_Draft, DecodedImage]], model: ImageModel) -> None:
        """The look of every image, and of those without text what would be said of them."""
        speaks = {TaskType.VISION} if self._models.image_speaks else set()
        outputs = self._outputs(seen, model, frozenset({TaskType.VV_EMBED} | speaks), Axis.VV)
        if outputs is None or not speaks:
            return
        for place, (draft, _) in enumerate(seen):
            if not draft.text:
                draft.text = meaning_text(
                    outputs.captions[place], outputs.tags[place], outputs.classification[place], ()
                )

    def _outputs(
        self,
        seen: Sequence[tuple[_Draft, DecodedImage]],
        model: ImageModel,
        wanted: frozenset[TaskType],
        axis: Axis,
    ) -> ImageOutputs | None:
        """What a model says of images; their vectors become those of the axis, where asked for."""
        spec, space = _cut_of(model.manifest), Space(axis.value)
        try:
            pixels = np.stack([cut(image.pixels, spec) for _, image in seen])
            outputs = model.analyse(pixels, wanted)
            if space not in outputs.vectors:
                raise ContractError(f"model {model.manifest.name} gave no vectors", "model.vectors")
            rows = outputs.vectors[space].vectors
        except MODEL_FAILURES as error:
            for draft, _ in seen:
                draft.failures[axis] = _reason(error)
            return None
        for row, (draft, _) in zip(rows, seen, strict=True):
            if axis in draft.request.axes and axis in self._transforms:
                draft.vectors[axis] = AxisVector(row, self._transforms[axis])
        return outputs

    def _shorter_side(self) -> int:
        models = [model for model in (self._models.image, self._models.look) if model is not None]
        cuts = [_cut_of(model.manifest).resize_shorter for model in models]
        return max(INDEXED_SHORTER_SIDE, *cuts)


class _Draft:
    """One request and what has been found for it so far."""

    def __init__(self, request: EncodingRequest) -> None:
        self.request = request
        self.text = (request.text or "").strip()
        self.vectors: dict[Axis, AxisVector] = {}
        self.failures: dict[Axis, str] = {}
        self.refused: ImageError | None = None

    def wants_text(self, axis: Axis) -> bool:
        """Text brings mv, and vv and x when there is no image to bring them."""
        seen = axis is not Axis.MV and self.request.image is not None
        return bool(self.text) and axis in self.request.axes and not seen and self.refused is None

    def finished(self, missing: Mapping[Axis, str]) -> EncodedQuery:
        if self.refused is not None:
            return EncodedQuery(refused=self.refused)
        for axis in self.request.axes - set(self.vectors) - set(self.failures):
            self.failures[axis] = missing.get(axis) or NO_ENCODER[axis]
        return EncodedQuery(self.vectors, self.failures)


def _cut_of(manifest: ModelManifest) -> Cut:
    preprocessing = manifest.preprocessing
    if preprocessing is None:
        raise ManifestError(f"manifest {manifest.name} says nothing of preprocessing")
    return Cut(
        name=manifest.name,
        resize_shorter=preprocessing.resize_shorter,
        crop=preprocessing.crop,
        interpolation=preprocessing.interpolation,
        geometry=preprocessing.geometry,
    )


def _reason(error: Exception) -> str:
    line = next(iter(str(error).splitlines()), "")  # a MemoryError often says nothing
    return f"the model failed: {type(error).__name__}: {line[:200]}"
