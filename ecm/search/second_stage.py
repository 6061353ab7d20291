"""From a fused pool to the question that a reranker is asked, and the weights behind both.

Knows which numbers of a ranking profile a plan gets. Knows no index beyond what it is handed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import numpy as np

from ecm.contracts.search import Axis, SortOrder
from ecm.evidence.reader import SnapshotReader
from ecm.search.asking import Found
from ecm.search.config import FEATURES
from ecm.search.depth import depth_of
from ecm.search.features import features_of
from ecm.search.fusion import most
from ecm.search.penalties import penalties_of
from ecm.search.plan import Plan
from ecm.search.pool import Pool
from ecm.search.profile import RankingProfile
from ecm.search.query_features import missing, query_features
from ecm.search.rerank import RerankQuestion
from ecm.search.signals import Signals
from ecm.search.unwanted import demoted, strengths_of

READ: Final = ("caption", "tags", "ocr", "user")
"""Texts of a candidate that a reranker reads, in this order."""
READ_CHARS: Final = 2000


@dataclass(frozen=True)
class QueryWeights:
    """What each axis counts for one query, and factors of its type's weights of features.

    `by` tells whether they are those of its type, or were predicted for this very query.
    """

    axes: dict[Axis, float]
    factors: Mapping[str, float] = field(default_factory=dict)
    by: Literal["type", "query"] = "type"


def query_weights(plan: Plan, found: Found, profile: RankingProfile) -> QueryWeights:
    """The weights of a query whose axes have answered; the same rankings give the same weights."""
    own, per_query = weights_of(plan, profile), profile.per_query
    if per_query is None or plan.browsing or missing(plan, found):
        return QueryWeights(own)
    told = query_features(plan, found, _look(plan))
    if not per_query.knows(told):
        return QueryWeights(own)
    factors = per_query.factors_of(told)
    axes = {axis: weight * factors.pop(axis.value, 1.0) for axis, weight in own.items()}
    return QueryWeights(axes, factors, "query")


def weights_of(plan: Plan, profile: RankingProfile) -> dict[Axis, float]:
    """What each axis counts for a question of the type of a plan's."""
    if plan.by_example:
        return profile.shown_weights(with_text=bool(plan.question.wanted))
    own = profile.text_weights(plan.question.query_type, plan.question.confidence)
    look, part = profile.weights.visual, _look(plan)
    return {axis: (1 - part) * weight + part * look.of(axis) for axis, weight in own.items()}


def _look(plan: Plan) -> float:
    """How much the words of a plan are about look that the structure axis answers for: 0 to 1."""
    layout = plan.question.layout
    asked = layout is not None and Axis.X in plan.question.axes and not plan.by_example
    return layout.strength if layout is not None and asked else 0.0


def held_against(
    pool: Pool, plan: Plan, found: Found, reader: SnapshotReader, profile: RankingProfile
) -> Pool:
    """The pool as the profile fused it, with what is not wanted set back.

    Where the words axis is lost, and flagged for it, only looks and meaning tell what is not
    wanted: one that was too slow is not waited for now. Raises StoreCorrupt, and AxisUnavailable
    where that axis was not asked for but is needed.
    """
    held, unwanted = replace(pool, fusion=profile.fusion), plan.question.unwanted
    if not unwanted and not pool.unwanted:
        return held
    searchable = bool(unwanted) and Axis.FTS not in found.lost
    saying = reader.saying(plan.request.tenant_id, unwanted) if searchable else frozenset()
    return demoted(held, strengths_of(held, saying))


def rerank_depth(plan: Plan, pool: Pool, profile: RankingProfile, reranker: str) -> int:
    """How many of the best are reranked; a later page does as the first one did.

    `reranker` is what the profile of the service names: a model reads so many and no more.
    """
    if plan.cursor is not None:
        return min(plan.cursor.reranked, len(pool.fused))
    off = plan.request.rerank == "off" or plan.request.sort is not SortOrder.RELEVANCE
    if off or profile.rerank is None:
        return 0
    depth = depth_of(pool, plan.question, profile.rerank.depth)
    return depth if reranker == FEATURES else min(depth, profile.rerank.reading.most)


def rerank_question(
    plan: Plan,
    pool: Pool,
    signals: Signals,
    depth: int,
    profile: RankingProfile,
    weights: QueryWeights,
    *,
    documents: tuple[str, ...] = (),
) -> RerankQuestion:
    """What a reranker is asked about the first `depth` candidates."""
    axes = tuple(axis for axis in Axis if axis in pool.scores)
    summands = np.array(
        [[one.summands.get(axis, 0.0) for axis in axes] for one in pool.fused[:depth]]
    ).reshape(-1, len(axes))
    return RerankQuestion(
        query_type=plan.question.query_type,
        confidence=plan.question.confidence,
        by_example=plan.by_example,
        look=_look(plan),
        text=plan.question.wanted,
        asset_ids=tuple(pool.asset_ids[:depth]),
        fusion=profile.fusion,
        axes=tuple(axis.value for axis in axes),
        summands=summands,
        most=most((weights.axes[axis] for axis in axes), profile.fusion, profile.k),
        features=features_of(pool, signals, depth),
        penalties=penalties_of(pool, signals, depth),
        documents=documents,
        factors=weights.factors,
    )


def documents_of(signals: Signals, depth: int) -> tuple[str, ...]:
    """What is said of each of the first `depth` candidates, as one text of READ_CHARS at most."""
    found = []
    for place in signals.places[:depth].tolist():
        texts = [signals.facts.text(name, place) for name in READ] if place >= 0 else []
        found.append(". ".join(text for text in texts if text)[:READ_CHARS])
    return tuple(found)


def ceiling_ms(plan: Plan, now: float, profile: RankingProfile, instead: float | None) -> float:
    """Milliseconds that reranking may take from `now` (seconds of the engine's clock) on.

    `instead` takes the place of what the ranking profile says.
    """
    left = max(0.0, (plan.deadline - now) * 1000.0)
    told = profile.rerank.ceiling_ms if profile.rerank is not None else math.inf
    return min(told if instead is None else instead, left)
