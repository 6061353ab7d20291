"""Evaluation: queries, and labels of what answers them.

As they are kept, line by line in JSONL files, and as programs read them; runs over them are
`measured`'s. Knows no measure, no file and no clock. Every document belongs to one tenant.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, model_validator

from ecm.contracts.identity import Contract, Digest, TenantId
from ecm.contracts.search import MAX_QUERY_CHARS, QueryType

MAX_QUERIES: Final = 100_000
MIX: Final[Mapping[QueryType, float]] = {
    QueryType.KEYWORD: 0.35,
    QueryType.SEMANTIC: 0.35,
    QueryType.VISUAL: 0.20,
    QueryType.MIXED: 0.10,
}
"""Shares of the types in a query set, and in what a run asks of one."""
RELEVANT: Final = 1
"""The least relevance that recall, precision and reciprocal rank count."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
"""Of a query set, a label set or an engine."""
EvaluationQueryId = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")
]
Labeler = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9@._-]{0,63}$")]
Relevance = Literal[0, 1, 2]
"""0: does not answer; 1: answers in part; 2: answers."""


class QueryKind(StrEnum):
    """What makes a query have its answers."""

    KNOWN_ITEM = "known_item"
    """One asset is looked for, by its name or by words that are written in it."""
    CLASS = "class"
    """Assets that show a thing, by its name, a synonym or what it is a kind of."""
    CAPTION = "caption"
    """The asset that a sentence describes."""
    IMAGE = "image"
    """Assets like one that is shown."""
    LAYOUT = "layout"
    """Assets that look as words say: colours, places, proportions."""
    MIXED = "mixed"
    """Several of these at once."""
    LOG = "log"
    """Words that people have searched for."""


class QuerySource(StrEnum):
    """Where a query comes from."""

    LOG = "log"
    LABELS = "labels"
    CAPTIONS = "captions"
    TEMPLATE = "template"
    WRITTEN = "written"


class Difficulty(StrEnum):
    """How hard a query is, told by something else than the ranking that is judged."""

    EASY = "easy"
    MEDIUM = "medium"
    HARD = "hard"


class Split(StrEnum):
    """`learn` may be learned from; `held_out` only judges."""

    LEARN = "learn"
    HELD_OUT = "held_out"


class EvaluationQuery(Contract):
    """One query: words, a shown asset, or both.

    `query_type` is the stratum it was made for. Queries of one `group` are about the same thing
    (one asset, one class, the same words) and lie on one side of every split. A shown asset is no
    answer to itself.
    """

    query_id: EvaluationQueryId
    query_text: Annotated[str, StringConstraints(min_length=1, max_length=MAX_QUERY_CHARS)] | None
    shown_asset_id: Digest | None = None
    query_type: QueryType
    kind: QueryKind
    source: QuerySource
    locale: str = Field(default="en", min_length=2, max_length=16)
    created_at: float = Field(ge=0, allow_inf_nan=False, description="Unix seconds (UTC)")
    difficulty: Difficulty
    split: Split
    group: str = Field(min_length=1, max_length=256)

    @model_validator(mode="after")
    def _asks_something(self) -> EvaluationQuery:
        if self.query_text is None and self.shown_asset_id is None:
            raise ValueError("a query has a text or shows an asset")
        return self


class QuerySet(Contract):
    """The head of a query set; its queries are the lines of a JSONL file.

    `digest` is that of the queries alone: two sets with one digest ask the same.
    """

    format_version: Literal[1] = 1
    tenant_id: TenantId
    name: Name
    version: int = Field(ge=1)
    created_at: float = Field(ge=0, allow_inf_nan=False)
    digest: Digest
    queries: int = Field(ge=0, le=MAX_QUERIES)
    seed: int = Field(ge=0)
    made_from: dict[str, str] = Field(
        default_factory=dict, description="what it was drawn from, by name: digests, paths, options"
    )
    earlier: int | None = Field(default=None, description="the version it refreshes")


class LabelSource(StrEnum):
    """`weak`: from what people clicked, or from what a model says; `human`: one labeler;
    `adjudicated`: settled where labelers differ, or said by all alike.
    """

    WEAK = "weak"
    HUMAN = "human"
    ADJUDICATED = "adjudicated"


class Label(Contract):
    """How well one asset answers one query, and who says so.

    `weight` (0-1] is how sure a weak label is; that of people is 1.
    """

    query_id: EvaluationQueryId
    asset_id: Digest
    relevance: Relevance
    label_source: LabelSource
    labeler: Labeler | None = None
    weight: float = Field(default=1.0, gt=0, le=1, allow_inf_nan=False)


class LabelSet(Contract):
    """The head of a label set; its labels, one for each query and asset, are lines of a JSONL file.

    An asset without a label is not judged, which is something else than relevance 0; but of a
    `complete` query (named in the file of labels by its set's `complete`) all assets are judged:
    what has no label is not relevant.
    """

    format_version: Literal[1] = 1
    tenant_id: TenantId
    name: Name
    label_version: int = Field(ge=1)
    created_at: float = Field(ge=0, allow_inf_nan=False)
    digest: Digest
    labels: int = Field(ge=0)
    query_set: Name
    query_set_digest: Digest
    by_source: dict[LabelSource, int] = Field(default_factory=dict)
    complete: tuple[EvaluationQueryId, ...] = Field(
        default=(), description="queries of which every asset of the snapshot is judged"
    )
    agreement: dict[str, float | None] = Field(
        default_factory=dict, description="kappa, AC1, PABAK of the people behind it"
    )
    made_from: dict[str, str] = Field(
        default_factory=dict, description="how this version came to be, by name: votes, options"
    )
    earlier: int | None = None
