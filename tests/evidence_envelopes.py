"""Envelopes for tests of the evidence store: small, deterministic, of any tenant and transform."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from ecm.contracts.identity import digest
from ecm.contracts.result import (
    EnvelopeError,
    EnvelopeStatus,
    ErrorClass,
    ImageFacts,
    LabelStatement,
    Outputs,
    ResourceFingerprint,
    ResultEnvelope,
    Space,
    TextStatement,
    VectorStatement,
)

VISION, OCR, VV, X, MV = (digest(name) for name in ("vision", "ocr", "vv", "x", "mv"))
DIMS = {Space.VV: 8, Space.X: 4, Space.MV: 6}
JPEG = b"\xff\xd8\xff\xe0 not really a picture \xff\xd9"
START = 1_790_000_000.0


def content_of(seed: object) -> str:
    return hashlib.sha256(repr(seed).encode()).hexdigest()


def vector_of(space: Space, seed: object) -> npt.NDArray[np.float32]:
    """A unit vector that depends on nothing but its arguments."""
    raw = np.random.default_rng(int(content_of((space, seed))[:15], 16)).normal(size=DIMS[space])
    return (raw / np.linalg.norm(raw)).astype(np.float32)


def envelope(
    seed: object,
    task_type: str = "vision",
    transform: str = VISION,
    tenant: str = "t",
    **changes: Any,
) -> ResultEnvelope:
    """A successful envelope about the content `seed`, changed field by field."""
    uri = changes.pop("uri", f"file:///photos/{seed}.jpg")
    content = changes.pop("content", content_of(seed))
    seen = ResourceFingerprint(uri=uri, content_hash=content, size=123, mtime_ns=77)
    fields: dict[str, Any] = {
        "tenant_id": tenant,
        "task_id": digest([tenant, uri, task_type, transform]),
        "task_type": task_type,
        "transform": transform,
        "run_id": "run-1",
        "worker_id": "worker",
        "attempt": 1,
        "fence": 1,
        "resource_fingerprint": seen,
        "image": ImageFacts(width=640, height=480, format="JPEG"),
        "outputs": Outputs(),
        "status": EnvelopeStatus.SUCCESS,
        "observed_at": START,
    }
    return ResultEnvelope.seal(**fields | changes)


def failed(seed: object, **changes: Any) -> ResultEnvelope:
    """A failed envelope: the bytes were read but could not be decoded."""
    error = EnvelopeError(
        **{"class": ErrorClass.INPUT}, code="decode.corrupt", stage="decode", message="no"
    )
    return envelope(seed, status=EnvelopeStatus.FAILED, error=error, image=None, **changes)


def vision(
    seed: object, caption: str = "", tags: tuple[str, ...] = (), **changes: Any
) -> ResultEnvelope:
    """What a tagger says: a composed caption, tags and one class, with confidences."""
    picture = changes.pop("thumbnail", None)
    labels = tuple(LabelStatement(label=t, confidence=0.9 - i / 20) for i, t in enumerate(tags))
    said = Outputs(
        caption=TextStatement(text=caption, confidence=0.5, composed=True) if caption else None,
        tags=labels,
        classification=tuple(
            LabelStatement(label=tag.label, confidence=tag.confidence, scheme="imagenet-1k")
            for tag in labels[:1]
        ),
        thumbnail=base64.b64encode(picture) if picture else None,
    )
    return envelope(seed, outputs=said, **changes)


def embedded(
    seed: object, space: Space = Space.VV, transform: str = "", **changes: Any
) -> ResultEnvelope:
    """One vector of a space; `vector` replaces the one that follows from the seed."""
    values = changes.pop("vector", vector_of(space, seed))
    transform = transform or {Space.VV: VV, Space.X: X, Space.MV: MV}[space]
    said = Outputs(vectors=(VectorStatement.of(space, values, norm=2.5),))
    return envelope(seed, f"{space.value}_embed", transform, outputs=said, **changes)


def ocr(seed: object, *lines: str, **changes: Any) -> ResultEnvelope:
    said = Outputs(ocr=tuple(TextStatement(text=line, confidence=0.8) for line in lines))
    return envelope(seed, "ocr", OCR, outputs=said, **changes)


def everything(seed: object, *words: str, **changes: Any) -> list[ResultEnvelope]:
    """All tasks of one image: texts, the three vectors and recognised text."""
    caption = "a photo of " + " and ".join(words) if words else ""
    spaces = [embedded(seed, space, **changes) for space in Space]
    return [vision(seed, caption, words, **changes), ocr(seed, **changes), *spaces]
