"""SearchRequest and SearchResponse: the question and the explained answer. No I/O, no clock."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Base64Bytes, Field, StringConstraints, model_validator

from ecm.contracts.experiment import Assigned
from ecm.contracts.filters import Colour, Filter, Orientation
from ecm.contracts.identity import Contract, Digest, TenantId

MAX_QUERY_CHARS = 2000
MAX_IMAGE_BYTES = 32 * 2**20
MAX_EXAMPLES = 8
MAX_FACETS = 8
MAX_AXES = 8


class Axis(StrEnum):
    """Where candidates come from: visual, structure and meaning vectors, and full text (BM25)."""

    VV = "vv"
    X = "x"
    MV = "mv"
    FTS = "fts"


class SortOrder(StrEnum):
    """How hits are ordered: by score, or by a fact, among the candidates that are relevant."""

    RELEVANCE = "relevance"
    NEWEST = "newest"
    OLDEST = "oldest"
    LARGEST = "largest"
    SMALLEST = "smallest"
    NAME = "name"


class FacetField(StrEnum):
    """Facts whose values are counted over everything that matches."""

    TAGS = "tags"
    CLASSES = "classes"
    FORMAT = "format"
    ORIENTATION = "orientation"
    COLOURS = "colours"
    YEAR = "year"
    HAS = "has"


class LostReason(StrEnum):
    """Why an axis or step did not take part; `first_page`: it did not on the first page either."""

    INDEX_MISSING = "index_missing"
    INDEX_UNREADABLE = "index_unreadable"
    MODEL_MISSING = "model_missing"
    MODEL_FAILED = "model_failed"
    FINGERPRINT = "fingerprint"
    DIMENSION = "dimension"
    VECTOR_INVALID = "vector_invalid"
    NO_VECTOR = "no_vector"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    CEILING = "ceiling"
    FIRST_PAGE = "first_page"


class QueryType(StrEnum):
    """What kind of question it is; the ranking profile has weights for each."""

    KEYWORD = "keyword"
    SEMANTIC = "semantic"
    VISUAL = "visual"
    MIXED = "mixed"


class Example(Contract):
    """An image to be like, or with a negative weight unlike: bytes, or an asset of the snapshot."""

    image: Base64Bytes | None = Field(default=None, description="image file, base64")
    asset_id: Digest | None = None
    weight: float = Field(default=1.0, ge=-1, le=1, allow_inf_nan=False, description="not 0")

    @model_validator(mode="after")
    def _shows_one_thing(self) -> Example:
        if (self.image is None) == (self.asset_id is None):
            raise ValueError("an example is either an image or an asset id")
        if self.image is not None and not 0 < len(self.image) <= MAX_IMAGE_BYTES:
            raise ValueError(f"image must have between 1 and {MAX_IMAGE_BYTES} bytes")
        if self.weight == 0:
            raise ValueError("the weight of an example is not 0")
        return self


class SearchRequest(Contract):
    """A question: text, image bytes, assets already indexed, or text with some of the others.

    `image` and `asset_id` are short for one example of weight 1; `examples` come on top. Something
    must be wanted: a text, or an example of positive weight.
    """

    schema_version: Literal[1] = 1
    tenant_id: TenantId
    text: Annotated[str, StringConstraints(max_length=MAX_QUERY_CHARS)] | None = None
    image: Base64Bytes | None = Field(default=None, description="image file, base64")
    asset_id: Digest | None = None
    examples: tuple[Example, ...] = Field(default=(), max_length=MAX_EXAMPLES)
    filter: Filter | None = None
    facets: tuple[FacetField, ...] = Field(default=(), max_length=MAX_FACETS)
    sort: SortOrder = SortOrder.RELEVANCE
    limit: int = Field(default=20, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=512)
    candidates: int = Field(default=200, ge=1, le=500, description="per axis")
    axes: tuple[Axis, ...] | None = Field(
        default=None,
        max_length=MAX_AXES,
        description="only these axes; default: all that fit the query",
    )
    require: tuple[Axis, ...] = Field(
        default=(),
        max_length=MAX_AXES,
        description="fail instead of degrading when one of these cannot answer",
    )
    rerank: Literal["auto", "off"] = "auto"
    min_relevance: Literal["auto"] | Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="leave out what is less relevant than this; auto: than the query itself tells",
    )
    timeout_ms: float | None = Field(
        default=None, gt=0, le=60_000, description="answer with what is there by then"
    )
    explain: bool = True
    profile: bool = Field(default=False, description="say how long each stage took")

    @model_validator(mode="after")
    def _asks_something(self) -> SearchRequest:
        if self.image is not None and self.asset_id is not None:
            raise ValueError("give an image or an asset id, not both; more of them as examples")
        if self.image is not None and not 0 < len(self.image) <= MAX_IMAGE_BYTES:
            raise ValueError(f"image must have between 1 and {MAX_IMAGE_BYTES} bytes")
        wanted = any(example.weight > 0 for example in self.shown())
        if not (self.text and self.text.strip()) and not wanted and self.filter is None:
            raise ValueError("empty query: give text, an image, an asset id or a filter")
        return self

    def shown(self) -> tuple[Example, ...]:
        """Everything that is shown: `image` or `asset_id` as an example first, then `examples`."""
        if self.image is None and self.asset_id is None:
            return self.examples
        # Both have been checked and decoded: nothing is to be decoded again.
        first = Example.model_construct(image=self.image, asset_id=self.asset_id, weight=1.0)
        return (first, *self.examples)


class AxisScore(Contract):
    """Place of a hit on one axis: rank from 1 (null outside the candidates) and its score there."""

    rank: int | None = Field(ge=1)
    score: float


class Contribution(Contract):
    """One summand of a score; those of a hit add up to it (`math.fsum`), within 1e-9.

    `feature` says what counts: `rrf.AXIS` the place on an axis, `sim.AXIS` a similarity,
    `bm25.FIELD` words in a field, `penalty.NAME` (negative) what speaks against the hit, and others
    of the ranking profile. `raw` is the feature itself, before its weight.
    """

    feature: str
    value: float
    raw: float | None = None


class Counterfactual(Contract):
    """Where the hit would be without one kind of evidence: its rank, null: not among the hits."""

    without: str
    rank: int | None = Field(ge=1)


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
    relevance: float | None = Field(
        default=None, ge=0, le=1, description="how well it answers, comparable between queries"
    )
    axes: dict[Axis, AxisScore]
    contributions: tuple[Contribution, ...] = ()
    counterfactuals: tuple[Counterfactual, ...] = ()
    caption: str | None
    caption_composed: bool = False
    tags: tuple[str, ...]
    width: int | None = None
    height: int | None = None
    size: int | None = Field(default=None, description="bytes")
    taken_at: float | None = Field(default=None, description="Unix seconds, UTC")
    modified_at: float | None = Field(default=None, description="Unix seconds, UTC")
    evidence: tuple[EvidenceRef, ...] = ()
    why: str = Field(default="", description="one sentence for a person")


class Degradation(Contract):
    """An axis or step that did not take part though the query called for it, why, what that does.

    `code` is for programs, `reason` for people; `axis` is null for a step, which `step` names.
    """

    axis: Axis | None = None
    step: Literal["rerank", "facets"] | None = None
    code: LostReason
    reason: str
    effect: str


class LayoutConstraint(Contract):
    """What the words of a query say of the look of the picture."""

    said: str = Field(description="the words, as they were written")
    colour: Colour | None = None
    place: str | None = Field(default=None, description="left, right, top, bottom, centre, …")
    orientation: Orientation | None = None
    property: str | None = Field(default=None, description="symmetrical, bright, dark, sky, …")


class Understood(Contract):
    """What the service made of the words of a query."""

    query_type: QueryType
    confidence: float = Field(ge=0, le=1)
    axes: tuple[Axis, ...] = Field(description="axes the query calls for")
    wanted: str = Field(default="", description="the words that are looked for")
    phrases: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = Field(default=(), description="what is to be absent")
    names: tuple[str, ...] = Field(default=(), description="exact file names")
    layout: tuple[LayoutConstraint, ...] = ()


class RankingUsed(Contract):
    """How hits were ranked; `reranked` is how many of the best were looked at again.

    `weights` are those of this query by axis; `weights_by` tells whether they are its type's or
    were predicted for this very query. `cut` counts candidates left out as not relevant, and
    `threshold` the relevance that was asked for.
    """

    version: str
    digest: str
    fusion: Literal["rrf", "dbsf"]
    weights: dict[Axis, float]
    weights_by: Literal["type", "query"] = "type"
    reranked: int = Field(ge=0)
    cut: int = Field(default=0, ge=0)
    threshold: float | None = None


class FacetCount(Contract):
    """How many matching assets have a value."""

    value: str
    count: int = Field(ge=0)


class SearchResponse(Contract):
    """The hits and everything needed to repeat the question on the same snapshot.

    `partial`: something was left out for want of time; `degraded` says what. `matched` counts the
    candidates that are ranked, over all pages. Facets count all assets that pass the filter and
    are candidates. `profile` gives milliseconds per stage. `experiment` tells which arm answered;
    null where none is under way for who asks.
    """

    schema_version: Literal[1] = 1
    snapshot_id: str
    ranking_profile: str
    query_type: QueryType
    fingerprints: dict[Axis, str] = Field(description="transform behind each axis")
    took_ms: float
    degraded: tuple[Degradation, ...] = ()
    partial: bool = False
    understood: Understood
    ranking: RankingUsed
    matched: int = Field(ge=0)
    facets: dict[FacetField, tuple[FacetCount, ...]] = Field(default_factory=dict)
    profile: dict[str, float] | None = None
    hits: tuple[Hit, ...]
    cursor: str | None = None
    experiment: Assigned | None = None
