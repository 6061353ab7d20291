"""Ranking profiles as rows of numbers, and rows as profiles.

Knows where a profile has its weights; learns nothing. Rows are float64 (r, p): ROWS by WEIGHTS, the
features as if fusion counted RAISED among them.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ecm.errors import ConfigError
from ecm.search.profile import RankingProfile
from ecm.search.weights import (
    PRIOR,
    AxisWeights,
    FeatureWeights,
    RerankWeights,
    ShownWeights,
    TypeWeights,
)
from ecm.tuning.examples import AXES, ROWS, WEIGHTS, Floats
from ecm.tuning.factors import round_to
from ecm.tuning.rows import LEAST, RAISED

_COUNT: Final = len(AXES)


def rerank_of(profile: RankingProfile) -> RerankWeights:
    """The second stage of a profile. Raises ConfigError where there is none to learn for."""
    if profile.rerank is None:
        raise ConfigError(
            f"ranking profile {profile.version} does not rerank",
            "config.ranking",
            "learn from one that has `rerank`",
        )
    return profile.rerank


def fusion_weight(profile: RankingProfile) -> float:
    """The weight of fusion among features, which is one for all rows: penalties have no rows, so
    what they count beside it must not differ.

    Raises ConfigError where it differs or is 0.
    """
    table = rerank_of(profile).weights
    found = {float(getattr(table, name).get(PRIOR, 0.0)) for name in ROWS}
    if len(found) > 1 or 0.0 in found:
        raise ConfigError(
            f"ranking profile {profile.version}: `{PRIOR}` is not the same weight in all rows",
            "config.ranking",
            "scale the features of each row so that it is, then learn",
        )
    return found.pop()


def rows_of(profile: RankingProfile) -> Floats:
    """The rows of a profile. Raises ConfigError as `fusion_weight`."""
    scale, table = RAISED / fusion_weight(profile), rerank_of(profile).weights
    found = []
    for name in ROWS:
        axes = getattr(profile.shown if name in ("alone", "with_text") else profile.weights, name)
        own = getattr(table, name)
        features = [scale * own.get(feature, 0.0) for feature in WEIGHTS[_COUNT:]]
        found.append([*(getattr(axes, axis) for axis in AXES), *features])
    return np.array(found)


def profile_of(rows: Floats, like: RankingProfile, version: str) -> RankingProfile:
    """A profile with rows as its weights, and all else as another one has it.

    Raises ConfigError as `fusion_weight`, of that one.
    """
    own = fusion_weight(like)
    axes = {
        name: AxisWeights(**dict(zip(AXES, row[:_COUNT], strict=True)))
        for name, row in zip(ROWS, rows.tolist(), strict=True)
    }
    features = {
        name: {PRIOR: own}
        | {n: w * own / RAISED for n, w in zip(WEIGHTS[_COUNT:], row[_COUNT:], strict=True) if w}
        for name, row in zip(ROWS, rows.tolist(), strict=True)
    }
    weights = FeatureWeights.model_validate(features)
    return like.model_copy(
        update={
            "version": version,
            "weights": TypeWeights(**{name: axes[name] for name in TypeWeights.model_fields}),
            "shown": ShownWeights(**{name: axes[name] for name in ShownWeights.model_fields}),
            "rerank": rerank_of(like).model_copy(update={"weights": weights}),
            "per_query": None,
            "learned": None,
        }
    )


def rounded(rows: Floats, prior: Floats) -> Floats:
    """Rows as a file holds them; an axis that had no weight and gained none is left without."""
    found = np.array([[round_to(w, 4) for w in row] for row in rows.tolist()])
    found[np.abs(found) < 1e-4] = 0.0
    axes = found[:, :_COUNT]
    axes[(prior[:, :_COUNT] < LEAST) & (axes <= 2 * LEAST)] = 0.0
    return found
