"""Fills a pool: the score of every candidate on every axis that answered, and on what is unwanted.

Knows which scores are asked for again; knows no weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ecm.contracts.search import Axis
from ecm.search.asking import Found
from ecm.search.blending import QueryVectors
from ecm.search.candidates import Candidates
from ecm.search.fusion import Fused
from ecm.search.plan import Plan
from ecm.search.pool import Pool, Scores


def pooled(
    plan: Plan,
    fused: Sequence[Fused[Axis]],
    found: Found,
    vectors: QueryVectors,
    candidates: Candidates,
) -> Pool:
    """The pool of a fused ranking. Raises AxisUnavailable, StoreCorrupt."""
    asset_ids = [one.asset_id for one in fused]
    ranks = {axis: _ranks(ranking.asset_ids()) for axis, ranking in found.rankings.items()}
    scores = {
        axis: _column(
            asset_ids,
            dict(ranking.scored)
            | _missing(plan, axis, ranks[axis], asset_ids, vectors, candidates),
        )
        for axis, ranking in found.rankings.items()
    }
    tenant = plan.request.tenant_id
    unwanted: dict[Axis, Scores] = {}
    for axis, against in vectors.unwanted.items():
        if axis not in found.rankings:
            continue
        columns = [
            _column(asset_ids, candidates.vector_scores(axis, vector, tenant, asset_ids))
            for vector in against
        ]
        if columns:
            unwanted[axis] = np.fmax.reduce(columns)
    return Pool(tuple(fused), ranks, scores, unwanted)


def _missing(
    plan: Plan,
    axis: Axis,
    ranks: Mapping[str, int],
    asset_ids: Sequence[str],
    vectors: QueryVectors,
    candidates: Candidates,
) -> dict[str, float]:
    """Scores of those that the axis did not bring itself."""
    others = [asset_id for asset_id in asset_ids if asset_id not in ranks]
    tenant = plan.request.tenant_id
    text, layout = plan.question.text, plan.question.layout
    if axis is Axis.FTS:
        assert text is not None
        return candidates.text_scores(text, tenant, others)
    if axis is Axis.X and layout is not None and not plan.by_example:
        return candidates.layout_scores(layout, tenant, others)
    return candidates.vector_scores(axis, vectors.wanted[axis], tenant, others)


def _ranks(asset_ids: Sequence[str]) -> dict[str, int]:
    return {asset_id: rank for rank, asset_id in enumerate(asset_ids, start=1)}


def _column(asset_ids: Sequence[str], scores: Mapping[str, float]) -> Scores:
    """float64 (n,), NaN where there is no score."""
    return np.array([scores.get(asset_id, np.nan) for asset_id in asset_ids], dtype=np.float64)
