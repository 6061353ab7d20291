"""What a profile says about search. Knows names and ceilings; opens nothing."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

FEATURES: Final = "features"
"""The second stage that needs no model."""


class SearchConfig(BaseModel):
    """The `search` part of a profile; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ranking: str = Field(
        default="default", min_length=1, description="name in the ranking folder, or a YAML file"
    )
    time_ceiling_ms: float = Field(
        default=2000.0, gt=0, description="axes not yet asked when it is reached are left out"
    )
    evidence_per_hit: int = Field(default=12, ge=1, le=100)
    threads: int = Field(default=2, ge=1, le=64, description="of each query model")
    facts_cache_bytes: int = Field(
        default=512 << 20, ge=0, description="memory for the facts that filters and ranking read"
    )
    warm: bool = Field(
        default=True,
        description="run each query model once when it is opened; a service loads the vectors of "
        "its largest tenants before it answers",
    )
    recall_sample: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="share of the searches through a vector index that are repeated exactly, off "
        "the way of the request, to measure its recall; 0: none, nor the first ones",
    )
    axis_threads: int = Field(default=4, ge=1, le=64, description="axes asked at once")
    rerank_ceiling_ms: float | None = Field(
        default=None, ge=0, description="of reranking, instead of what the ranking profile says"
    )
    reranker: str = Field(
        default=FEATURES,
        min_length=1,
        description="the second stage: features, or a manifest of a model that reads",
    )
    remembered_rankings: int = Field(
        default=256, ge=1, le=100_000, description="of which further pages are cut"
    )
