"""The numbers of a ranking profile: weights of axes, fields and features, and their bounds.

Knows names and bounds; knows no file, no index and no query.
"""

from __future__ import annotations

from typing import Annotated, Final, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ecm.contracts.search import Axis, QueryType
from ecm.search.features import FeatureName
from ecm.search.penalties import PenaltyName

Weight = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Unit = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
PRIOR: Final = "rrf"
"""The weight, among those of features, of what the fusion of rankings said."""


class Part(BaseModel):
    """A part of a profile: frozen, unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AxisWeights(Part):
    """What one reciprocal rank, or one normalised score, counts on each axis."""

    vv: Weight
    x: Weight
    mv: Weight
    fts: Weight

    def of(self, axis: Axis) -> float:
        weight: float = getattr(self, axis.value)
        return weight


class TypeWeights(Part):
    """One row of axis weights per query type."""

    keyword: AxisWeights
    semantic: AxisWeights
    visual: AxisWeights
    mixed: AxisWeights

    def of(self, query_type: QueryType) -> AxisWeights:
        weights: AxisWeights = getattr(self, query_type.value)
        return weights


class ShownWeights(Part):
    """Rows for questions that show an image or an asset: alone, and together with text."""

    alone: AxisWeights
    with_text: AxisWeights


class TextBoosts(Part):
    """What a BM25 score counts in each text field of the snapshot; `path`: folders, `user`: what
    people wrote into the file.
    """

    caption: Weight
    tags: Weight
    classification: Weight
    ocr: Weight
    name: Weight
    path: Weight = 0.0
    user: Weight = 0.0


class Depth(Part):
    """How many of the best are reranked: between `least` for easy queries and `most` for hard."""

    least: int = Field(default=80, ge=1, le=1000)
    most: int = Field(default=200, ge=1, le=1000)

    @model_validator(mode="after")
    def _in_order(self) -> Depth:
        if self.least > self.most:
            raise ValueError("least is above most")
        return self


FeatureRow = dict[FeatureName, Weight]
"""Weights by feature, `rrf` for what fusion said; a feature that is not named does not count."""


class FeatureWeights(Part):
    """One row of feature weights per query type of texts, and for shown images."""

    keyword: FeatureRow
    semantic: FeatureRow
    visual: FeatureRow
    mixed: FeatureRow
    alone: FeatureRow = Field(description="an image or an asset is shown")
    with_text: FeatureRow = Field(description="an image or an asset, and words")

    @model_validator(mode="after")
    def _something_counts(self) -> FeatureWeights:
        for name in type(self).model_fields:
            if not any(getattr(self, name).values()):
                raise ValueError(f"{name}: at least one feature must count")
        return self

    def row(self, query_type: QueryType, confidence: float, look: float = 0.0) -> dict[str, float]:
        """The row of a type, drawn towards that of `mixed` by what confidence is missing, and from
        there towards that of `visual` by how much the words are about `look`.
        """
        rows: tuple[tuple[float, FeatureRow], ...] = (
            ((1.0 - look) * confidence, getattr(self, query_type.value)),
            ((1.0 - look) * (1.0 - confidence), self.mixed),
            (look, self.visual),
        )
        return {
            name: sum(part * row.get(name, 0.0) for part, row in rows)
            for name in get_args(FeatureName)
        }

    def shown_row(self, text: str) -> dict[str, float]:
        """The row of a question that shows something, alone or with words."""
        row = self.with_text if text else self.alone
        return {name: row.get(name, 0.0) for name in get_args(FeatureName)}


class Reading(Part):
    """Where a model reads the candidates: what its opinion counts, and of how many it is asked."""

    weight: Weight = 6.0
    most: int = Field(default=40, ge=1, le=1000)


class RerankWeights(Part):
    """The second stage: how deep, how long at most, and what each feature and penalty counts."""

    depth: Depth = Depth()
    ceiling_ms: float = Field(
        default=50.0, ge=0, le=60_000, description="longer, and the order of fusion stays"
    )
    weights: FeatureWeights
    reading: Reading = Reading()
    penalties: dict[PenaltyName, Weight] = Field(default_factory=dict)


class Cutoff(Part):
    """What `min_relevance: auto` asks for.

    `gate`: evidence that a query needs before it has answers at all; `spread`: over how much
    evidence around the gate relevance rises; `share`: how much of the best answer's evidence the
    others need where the best one says what was asked.
    """

    gate: float = Field(default=1.2, ge=-100, le=100, allow_inf_nan=False)
    spread: float = Field(default=1.0, gt=0, le=100, allow_inf_nan=False)
    share: Unit = 0.32
