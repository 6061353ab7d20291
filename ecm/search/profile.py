"""The ranking profile: how rankings are fused, reranked and cut off, as one versioned file.

Knows YAML and which weights a question gets; knows no index and no query.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ecm.contracts.identity import digest
from ecm.contracts.search import Axis, QueryType
from ecm.errors import ConfigError
from ecm.search.learned import Learned
from ecm.search.per_query import PerQuery
from ecm.search.weights import Cutoff, RerankWeights, ShownWeights, TextBoosts, TypeWeights


class RankingProfile(BaseModel):
    """A versioned choice of how candidates are ranked; its digest is carried by every cursor.

    Without `rerank`, as in profiles of earlier releases, the order of fusion is the last word.
    `per_query` multiplies the weights of the type by what is predicted for each query.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")
    fusion: Literal["rrf", "dbsf"] = "rrf"
    k: int = Field(default=60, ge=1, le=10_000, description="of reciprocal ranks")
    weights: TypeWeights = Field(description="of texts")
    shown: ShownWeights = Field(description="of images and assets")
    text_boosts: TextBoosts
    rerank: RerankWeights | None = None
    cutoff: Cutoff = Cutoff()
    per_query: PerQuery | None = None
    learned: Learned | None = Field(default=None, description="where learned numbers come from")

    @model_validator(mode="after")
    def _something_counts(self) -> RankingProfile:
        rows = {f"weights.{kind.value}": self.weights.of(kind) for kind in QueryType}
        rows |= {"shown.alone": self.shown.alone, "shown.with_text": self.shown.with_text}
        for name, row in rows.items():
            if not any(row.of(axis) > 0 for axis in Axis):
                raise ValueError(f"{name}: at least one axis must count")
        if not any(self.text_boosts.model_dump().values()):
            raise ValueError("text_boosts: at least one field must count")
        if self.learned is not None and self.learned.numbers != self.digest():
            raise ValueError(
                "learned: these are not the numbers that were learned; without `learned` they are "
                "yours"
            )
        return self

    def shown_weights(self, *, with_text: bool) -> dict[Axis, float]:
        """Weights of a question that shows an image or an asset."""
        row = self.shown.with_text if with_text else self.shown.alone
        return {axis: row.of(axis) for axis in Axis}

    def text_weights(self, query_type: QueryType, confidence: float) -> dict[Axis, float]:
        """Weights of the type, drawn towards those of `mixed` by what confidence is missing.

        One word more in a query therefore moves the weights a little instead of making them jump.
        """
        own, mixed = self.weights.of(query_type), self.weights.mixed
        return {
            axis: confidence * own.of(axis) + (1.0 - confidence) * mixed.of(axis) for axis in Axis
        }

    def boosts(self) -> dict[str, float]:
        """Boost per text column, without the fields that do not count."""
        return {name: boost for name, boost in self.text_boosts.model_dump().items() if boost > 0}

    def digest(self) -> str:
        """Hex sha256 over everything that can change a ranking: where it comes from cannot.

        A profile without `per_query` has the digest that it had before there was such a thing.
        """
        left_out = {"learned"} | ({"per_query"} if self.per_query is None else set())
        return digest(self.model_dump(mode="json", exclude=left_out))


def load_ranking_profile(name: str, folder: Path) -> RankingProfile:
    """The profile `folder/name.yaml`, or the file `name` when it ends in .yaml.

    Raises:
        ConfigError: no such file, not YAML, an unknown key or a weight out of bounds.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"ranking profile {path} cannot be read: {error.strerror}", "config.ranking"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"ranking profile {path} is not YAML", "config.ranking") from error
    try:
        return RankingProfile.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"ranking profile {path}: {where}: {first['msg']}", "config.ranking"
        ) from error
