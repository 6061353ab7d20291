"""SearchRequest and SearchResponse: the question and the explained answer. No I/O, no clock."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Base64Bytes, Field, StringConstraints, model_validator

from ecm.contracts.identity import Contract, Digest, TenantId

MAX_QUERY_CHARS = 2000
MAX_IMAGE_BYTES = 32 * 2**20


class Axis(StrEnum):
    """Where candidates come from: visual, structure and meaning vectors, and full text (BM25)."""

    VV = "vv"
    X = "x"
    MV = "mv"
    FTS = "fts"


class QueryType(StrEnum):
    """What kind of question it is; the ranking profile has weights for each."""

    KEYWORD = "keyword"
    SEMANTIC = "semantic"
    VISUAL = "visual"
    MIXED = "mixed"


class SearchRequest(Contract):
    """A question: text, image bytes, an asset already indexed, or text with one of the others."""

    schema_version: Literal[1] = 1
    tenant_id: TenantId
    text: Annotated[str, StringConstraints(max_length=MAX_QUERY_CHARS)] | None = None
    image: Base64Bytes | None = Field(default=None, description="image file, base64")
    asset_id: Digest | None = None
    limit: int = Field(default=20, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=512)
    candidates: int = Field(default=200, ge=1, le=500, description="per axis")
    axes: tuple[Axis, ...] | None = Field(
        default=None, description="only these axes; default: all that fit the query"
    )
    require: tuple[Axis, ...] = Field(
        default=(), description="fail instead of degrading when one of these cannot answer"
    )
    explain: bool = True

    @model_validator(mode="after")
    def _asks_something(self) -> SearchRequest:
        if not (self.text and self.text.strip()) and self.image is None and self.asset_id is None:
            raise ValueError("empty query: give text, an image or an asset id")
        if self.image is not None and self.asset_id is not None:
            raise ValueError("give an image or an asset id, not both")
        if self.image is not None and not 0 < len(self.image) <= MAX_IMAGE_BYTES:
            raise ValueError(f"image must have between 1 and {MAX_IMAGE_BYTES} bytes")
        return self


class AxisScore(Contract):
    """Place of a hit on one axis: rank from 1 (null outside the candidates) and its score there."""

    rank: int | None = Field(ge=1)
    score: float


class Contribution(Contract):
    """One summand of the fused score; the contributions of a hit add up to its score."""

    feature: str
    value: float


class EvidenceRef(Contract):
    """The stored statement behind a hit: which run and transform said it, how surely."""

    evidence_id: str
    kind: str
    run_id: str
    transform: Digest
    confidence: float | None
    text: str | None = None


class Hit(Contract):
    """One answer, with its places on the axes, its score's summands and its evidence."""

    rank: int = Field(ge=1)
    asset_id: Digest
    score: float
    uris: tuple[str, ...]
    axes: dict[Axis, AxisScore]
    contributions: tuple[Contribution, ...] = ()
    caption: str | None
    caption_composed: bool = False
    tags: tuple[str, ...]
    width: int | None = None
    height: int | None = None
    evidence: tuple[EvidenceRef, ...] = ()
    why: str = Field(default="", description="one sentence for a person")


class Degradation(Contract):
    """An axis that did not take part though the query called for it, why, and what that does."""

    axis: Axis
    reason: str
    effect: str


class SearchResponse(Contract):
    """The hits and everything needed to repeat the question on the same snapshot."""

    schema_version: Literal[1] = 1
    snapshot_id: str
    ranking_profile: str
    query_type: QueryType
    fingerprints: dict[Axis, str] = Field(description="transform behind each axis")
    took_ms: float
    degraded: tuple[Degradation, ...] = ()
    hits: tuple[Hit, ...]
    cursor: str | None = None
