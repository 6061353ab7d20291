"""Weights of one query, predicted from what is known of it before its rankings are merged.

Pure arithmetic and the bounds of its numbers; knows no plan, no index and no file.

    z      = (feature - mean) / scale of every feature of the query that is there; others count 0
    factor = exp(tanh((bias + Σ coefficient * z) / L) * L),  L = ln `most`

multiplies the weight that the query's type gives an axis or a feature, so it lies between 1/`most`
and `most`. A query unlike those that it was learned from (a feature outside its bounds), or one of
which an axis did not answer, keeps the weights of its type.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ecm.contracts.search import Axis
from ecm.search.features import FeatureName
from ecm.search.query_features import QueryFeature
from ecm.search.weights import Part

Finite = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Coefficient = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]
Multiplied = Literal[Axis.VV, Axis.X, Axis.MV, Axis.FTS] | FeatureName
"""What can have a factor: the weight of an axis, or of a feature."""


class Scaling(Part):
    """How a feature of queries was spread where weights were learned, and how far it is trusted."""

    mean: Finite
    scale: float = Field(gt=0, le=1e6, allow_inf_nan=False)
    low: Finite
    high: Finite

    @model_validator(mode="after")
    def _in_order(self) -> Scaling:
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


class Factor(Part):
    """What a weight is multiplied with: a bias, and a coefficient per feature of the query."""

    bias: Coefficient = 0.0
    of: dict[QueryFeature, Coefficient] = Field(default_factory=dict)


class PerQuery(Part):
    """The `per_query` section of a ranking profile."""

    most: float = Field(default=4.0, gt=1, le=16, allow_inf_nan=False)
    features: dict[QueryFeature, Scaling]
    factors: dict[Multiplied, Factor]

    @model_validator(mode="after")
    def _known(self) -> PerQuery:
        for name, factor in self.factors.items():
            for feature in factor.of:
                if feature not in self.features:
                    raise ValueError(f"factors.{name}: {feature} has no scaling in features")
        return self

    def knows(self, told: Mapping[str, float]) -> bool:
        """Whether all features of a query lie where weights were learned."""
        return all(
            scaling.low <= told[name] <= scaling.high
            for name, scaling in self.features.items()
            if name in told
        )

    def factors_of(self, told: Mapping[str, float]) -> dict[str, float]:
        """Factors by axis and feature, in [1/most, most]; of features as `query_features` has them.

        >>> one = Scaling(mean=2.0, scale=1.0, low=0.0, high=9.0)
        >>> vv = Factor(of={"words": 1})
        >>> own = PerQuery(most=4.0, features={"words": one}, factors={"vv": vv})
        >>> round(own.factors_of({"words": 2.5})["vv"], 4)
        1.6151
        """
        limit = math.log(self.most)
        z = {
            name: (told[name] - scaling.mean) / scaling.scale
            for name, scaling in self.features.items()
            if name in told
        }
        found = {}
        for name, factor in self.factors.items():
            raw = factor.bias + math.fsum(c * z[f] for f, c in factor.of.items() if f in z)
            found[str(name)] = math.exp(math.tanh(raw / limit) * limit)
        return found
