"""ResultEnvelope: all that leaves the pipeline for one task. No I/O, no clock."""

from __future__ import annotations

import base64
import hashlib
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import (
    Base64Bytes,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)

from ecm.contracts.identity import Contract, Digest, TenantId, canonical_json

ENVELOPE_SCHEMA_VERSION: Final = 1
MAX_WRITTEN: Final = 2_000
"""Characters of one text that stands in a file."""
NORM_TOLERANCE = 1e-3
"""How far the length of a stored vector may be from 1; float32 of 16,384 values errs by less."""

# Strict: `true` and "0.9" are no confidences, and reading them as such would invent one.
Confidence = Annotated[float, Field(strict=True, ge=0.0, le=1.0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
MeasureName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")]
BoundedText = Annotated[str, StringConstraints(max_length=20_000)]


class ErrorClass(StrEnum):
    """Why an attempt failed; the class alone decides how often it is retried."""

    NETWORK = "network"
    RESOURCE = "resource"
    MODEL = "model"
    INPUT = "input"
    INTERNAL = "internal"


class EnvelopeStatus(StrEnum):
    SUCCESS = "success"
    PARTIAL = "partial"
    FAILED = "failed"


class Space(StrEnum):
    """Vector spaces: visual, structure, meaning."""

    VV = "vv"
    X = "x"
    MV = "mv"


class WrittenKind(StrEnum):
    """What a person, or a camera, wrote into a file; `taken`: when the picture was."""

    TITLE = "title"
    DESCRIPTION = "description"
    KEYWORD = "keyword"
    COMMENT = "comment"
    TAKEN = "taken"


class WrittenSource(StrEnum):
    """In which part of a file it stands: a standard's block, or the comments of the format."""

    EXIF = "exif"
    IPTC = "iptc"
    XMP = "xmp"
    PNG = "png"
    JPEG = "jpeg"


class EnvelopeError(Contract):
    """Cause of a failed or partial envelope: class, stable code, stage, one-line message."""

    error_class: ErrorClass = Field(alias="class")
    code: str = Field(min_length=1, max_length=64)
    stage: str = Field(min_length=1, max_length=32)
    message: str = Field(max_length=2000)


class ResourceFingerprint(Contract):
    """The bytes that were analysed: sha256, size in bytes, and their mtime or etag."""

    uri: str = Field(min_length=1, max_length=8192)
    content_hash: Digest | None = Field(description="null when the bytes could not be read")
    size: int = Field(ge=0)
    mtime_ns: int | None = None
    etag: str | None = None


class Written(Contract):
    """Words that stand in the file itself. They are its owner's, and nobody has checked them.

    `taken_at` (Unix seconds) is what `taken` says. Where the file gives no offset from UTC, `text`
    (ISO 8601) has none, and its time is taken for UTC.
    """

    kind: WrittenKind
    source: WrittenSource
    text: Annotated[str, StringConstraints(min_length=1, max_length=MAX_WRITTEN)]
    taken_at: Finite | None = None

    @model_validator(mode="after")
    def _a_time_when_taken(self) -> Self:
        if (self.taken_at is not None) != (self.kind is WrittenKind.TAKEN):
            raise ValueError("a time is given exactly for when a picture was taken")
        return self


class ImageFacts(Contract):
    """What decoding found: upright width and height in pixels, format, EXIF orientation 1-8.

    `written` is what people wrote into the file; one envelope of a resource tells it. Empty, it is
    not written, so that envelopes of before keep their checksums.
    """

    width: int = Field(ge=1)
    height: int = Field(ge=1)
    format: str = Field(min_length=1, max_length=16)
    orientation: int = Field(default=1, ge=1, le=8)
    frames: int = Field(default=1, ge=1)
    written: tuple[Written, ...] = Field(default=(), max_length=64)

    @model_serializer(mode="wrap")
    def _without_what_is_not_written(
        self, handler: SerializerFunctionWrapHandler
    ) -> dict[str, Any]:
        said: dict[str, Any] = handler(self)
        return {name: value for name, value in said.items() if name != "written" or value}


class Box(Contract):
    """Where in the upright picture, as shares of its width and height from the left and the top."""

    left: Share
    top: Share
    right: Share
    bottom: Share

    @model_validator(mode="after")
    def _not_inside_out(self) -> Box:
        if self.left > self.right or self.top > self.bottom:
            raise ValueError("a box ends before it begins")
        return self


class TextStatement(Contract):
    """A caption or a line of recognised text; `composed`: assembled from other statements.

    `scheme` says how it was arrived at when that was not the usual way, such as `fallback`; `box`
    is where the words stand in the picture, if that is known. What is not said is not written, so
    that envelopes of before keep their checksums.
    """

    text: BoundedText
    confidence: Confidence | None = None
    composed: bool = False
    scheme: str = Field(default="", max_length=64)
    box: Box | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_not_said(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        said: dict[str, Any] = handler(self)
        silent = [name for name in ("scheme", "box") if not said.get(name)]
        return {name: value for name, value in said.items() if name not in silent}


class LabelStatement(Contract):
    """A tag or a class with its calibrated confidence, if the model has one."""

    label: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    confidence: Confidence | None = None
    scheme: str = Field(default="", max_length=64, description="vocabulary, such as imagenet-1k")


class VectorStatement(Contract):
    """One L2-normalised vector: little-endian float32 values in `data`, dimension `dim`."""

    space: Space
    dim: int = Field(ge=1, le=16384)
    data: Base64Bytes
    norm: float = Field(gt=0, allow_inf_nan=False, description="L2 norm before normalisation")

    @classmethod
    def of(cls, space: Space, values: npt.NDArray[np.float32], norm: float = 1.0) -> Self:
        """From a 1-d normalised float32 array; ValueError for zero, non-finite or long vectors."""
        raw = np.ascontiguousarray(values, dtype="<f4").tobytes()
        return cls(space=space, dim=values.shape[0], data=base64.b64encode(raw), norm=norm)

    def to_numpy(self) -> npt.NDArray[np.float32]:
        """The values, float32 of shape (dim,)."""
        return np.frombuffer(self.data, dtype="<f4")

    @model_validator(mode="after")
    def _finite_and_unit(self) -> Self:
        if len(self.data) != 4 * self.dim:
            raise ValueError(f"{len(self.data)} bytes are not {self.dim} float32 values")
        values = self.to_numpy()
        if not np.isfinite(values).all():
            raise ValueError("vector has non-finite values")
        length = float(np.linalg.norm(values.astype(np.float64)))
        if abs(length - 1.0) > NORM_TOLERANCE:
            raise ValueError(f"vector is not L2-normalised: norm {length:.6f}")
        return self


class Outputs(Contract):
    """Everything one task says. Empty parts mean: not asked, or nothing found."""

    caption: TextStatement | None = None
    tags: tuple[LabelStatement, ...] = Field(default=(), max_length=256)
    classification: tuple[LabelStatement, ...] = Field(default=(), max_length=64)
    ocr: tuple[TextStatement, ...] = Field(default=(), max_length=2000)
    vectors: tuple[VectorStatement, ...] = Field(default=(), max_length=8)
    measures: dict[MeasureName, Finite] = Field(default_factory=dict, max_length=256)
    thumbnail: Base64Bytes | None = Field(default=None, description="small JPEG for pages")


class Telemetry(Contract):
    """How it went: milliseconds per stage for this image, batch size, device memory in bytes.

    `counts` are numbers that add up over images, such as tokens.
    """

    latency_ms: dict[str, Finite] = Field(default_factory=dict)
    counts: dict[MeasureName, Finite] = Field(default_factory=dict, max_length=64)
    batch_size: int = Field(default=0, ge=0)
    gpu_mem: int = Field(default=0, ge=0, description="bytes")


class ResultEnvelope(Contract):
    """The outcome of one attempt at one task, sealed by a checksum over its payload."""

    schema_version: Literal[1] = ENVELOPE_SCHEMA_VERSION
    tenant_id: TenantId
    task_id: Digest
    task_type: str = Field(max_length=32)
    transform: Digest
    run_id: str = Field(min_length=1, max_length=128)
    worker_id: str = Field(min_length=1, max_length=256)
    attempt: int = Field(ge=1)
    fence: int = Field(ge=0)
    resource_fingerprint: ResourceFingerprint
    image: ImageFacts | None = None
    linked: bool = Field(default=False, description="the same bytes were already analysed")
    outputs: Outputs = Outputs()
    telemetry: Telemetry = Telemetry()
    status: EnvelopeStatus
    error: EnvelopeError | None = None
    observed_at: float = Field(ge=0, allow_inf_nan=False, description="Unix seconds (UTC)")
    result_checksum: Digest

    @classmethod
    def seal(cls, **fields: Any) -> Self:
        """An envelope with its checksum computed over status, outputs, error and identity."""
        draft = cls.model_construct(**fields)
        return cls(**fields, result_checksum=draft.payload_checksum())

    def payload_checksum(self) -> str:
        """Hex sha256 over what the task says and about which bytes; telemetry does not count."""
        payload = {
            "task_id": self.task_id,
            "transform": self.transform,
            "content_hash": self.resource_fingerprint.content_hash,
            "status": str(self.status),
            "linked": self.linked,
            "image": self.image.model_dump(mode="json") if self.image else None,
            "outputs": self.outputs.model_dump(mode="json"),
            "error": self.error.model_dump(mode="json", by_alias=True) if self.error else None,
        }
        return hashlib.sha256(canonical_json(payload)).hexdigest()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.status is EnvelopeStatus.SUCCESS) != (self.error is None):
            raise ValueError("an error is given exactly when the status is not success")
        if self.status is not EnvelopeStatus.FAILED and not self.resource_fingerprint.content_hash:
            raise ValueError("only a failed envelope may lack its content hash")
        if self.result_checksum != self.payload_checksum():
            raise ValueError("result_checksum does not match the payload")
        return self
