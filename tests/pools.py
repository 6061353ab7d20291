"""Pools of candidates as plain values, and signals of them, without a snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from ecm.contracts.search import Axis, SearchRequest
from ecm.search.background import Background
from ecm.search.features import features_of
from ecm.search.fusion import fused, most
from ecm.search.penalties import penalties_of
from ecm.search.pool import Pool
from ecm.search.profile import RankingProfile, load_ranking_profile
from ecm.search.query import read_question
from ecm.search.rerank import RerankQuestion
from ecm.search.signals import FIELDS, Signals
from ecm.search.spoken import spoken_by
from ecm.search.unwanted import demoted
from tests.known_assets import Known, facts_of

PROFILE: RankingProfile = load_ranking_profile(
    "default", Path(__file__).parents[1] / "conf" / "ranking"
)
WEIGHTS = {Axis.VV: 1.2, Axis.X: 0.3, Axis.MV: 1.0, Axis.FTS: 1.4}
IDS = [f"{number:02x}" for number in range(14)]
TAGS = ("dog", "cat", "tiger shark", "red car", "grass")
Lists = Mapping[Axis, Mapping[str, float]]


def pool_of(lists: Lists, strengths: Mapping[str, float] | None = None, **changes: object) -> Pool:
    """A pool of what axes found; every axis has a score for those it found only."""
    profile = PROFILE.model_copy(update=changes)
    ranked = {
        axis: sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
        for axis, found in lists.items()
    }
    merged = fused(ranked, WEIGHTS, profile.fusion, profile.k)
    ids = [one.asset_id for one in merged]
    pool = Pool(
        fused=merged,
        ranks={
            axis: {a: rank for rank, (a, _) in enumerate(one, start=1)}
            for axis, one in ranked.items()
        },
        scores={
            axis: np.array([found.get(a, np.nan) for a in ids]) for axis, found in lists.items()
        },
        unwanted={},
        fusion=profile.fusion,
    )
    return demoted(pool, np.array([(strengths or {}).get(a, 0.0) for a in ids]))


def signals_for(
    pool: Pool,
    assets: Sequence[Known],
    text: str = "a dog",
    fields: Mapping[str, Mapping[str, float]] | None = None,
    rows: int = 1000,
) -> Signals:
    """Signals of a pool; backgrounds are those of unit normal scores of `rows` assets."""
    facts = facts_of(assets)
    question = read_question(SearchRequest(tenant_id="t", text=text))
    places = facts.places(pool.asset_ids)
    columns = {
        name: np.array([(fields or {}).get(name, {}).get(a, 0.0) for a in pool.asset_ids])
        for name in FIELDS
    }
    usual = {
        axis: Background(0.0, 1.0, rows)
        for axis in (Axis.VV, Axis.X, Axis.MV)
        if axis in pool.scores
    }
    return Signals(
        question=replace(question, layout=None),
        by_example=False,
        facts=facts,
        whole=True,
        places=places,
        spoken=spoken_by(facts, places, question.wanted),
        fields=columns if Axis.FTS in pool.scores else {},
        backgrounds=usual,
    )


def question_of(pool: Pool, signals: Signals, depth: int) -> RerankQuestion:
    """What a reranker is asked about the first `depth` of a pool."""
    axes = tuple(axis for axis in Axis if axis in pool.scores)
    summands = [[one.summands.get(axis, 0.0) for axis in axes] for one in pool.fused[:depth]]
    return RerankQuestion(
        query_type=signals.question.query_type,
        confidence=signals.question.confidence,
        by_example=signals.by_example,
        look=0.0,
        text=signals.question.wanted,
        asset_ids=tuple(pool.asset_ids[:depth]),
        fusion=pool.fusion,
        axes=tuple(axis.value for axis in axes),
        summands=np.array(summands).reshape(-1, len(axes)),
        most=most((WEIGHTS[axis] for axis in axes), pool.fusion, PROFILE.k),
        features=features_of(pool, signals, depth),
        penalties=penalties_of(pool, signals, depth),
    )


LISTS = st.fixed_dictionaries(
    {Axis.VV: st.dictionaries(st.sampled_from(IDS), st.floats(-1, 8), min_size=1)},
    optional={
        Axis.MV: st.dictionaries(st.sampled_from(IDS), st.floats(-1, 8)),
        Axis.FTS: st.dictionaries(st.sampled_from(IDS), st.floats(0.1, 30)),
    },
)
"""What axes found, with scores in standard deviations."""
SAID = st.tuples(
    st.sampled_from(["tag", "classification"]),
    st.sampled_from(TAGS),
    st.none() | st.floats(0, 1),
    st.just("run-1"),
)
ASSETS = st.lists(st.sampled_from(IDS), unique=True).flatmap(
    lambda ids: st.tuples(
        *(
            st.builds(
                Known,
                st.just(asset_id),
                caption=st.none() | st.sampled_from(["a dog on grass", "two red cars"]),
                said=st.lists(SAID, max_size=5).map(tuple),
            )
            for asset_id in ids
        )
    )
)
STRENGTHS = st.dictionaries(st.sampled_from(IDS), st.floats(0, 1), max_size=4)
