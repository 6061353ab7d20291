"""Laws of the second stage: sums, orders, and that what speaks against never helps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.contracts.search import Axis
from ecm.search.depth import depth_of, difficulty_of
from ecm.search.features import FEATURES, Features, features_of
from ecm.search.penalties import PENALTIES, penalties_of
from ecm.search.ranked import BEYOND, in_order, scores_in
from ecm.search.rerank import FeatureReranker, Reranked
from ecm.search.unwanted import strengths_of
from ecm.search.weights import Depth
from tests.known_assets import Known
from tests.pools import (
    ASSETS,
    IDS,
    LISTS,
    PROFILE,
    STRENGTHS,
    Lists,
    pool_of,
    question_of,
    signals_for,
)

LAWS = settings(max_examples=25, deadline=None)
DEPTHS = st.integers(1, len(IDS))
FUSIONS = st.sampled_from(["rrf", "dbsf"])
RERANKER = FeatureReranker(PROFILE)


@LAWS
@given(LISTS, ASSETS, STRENGTHS, DEPTHS, FUSIONS)
def test_contributions_sum_and_the_order_is_total(
    lists: Lists, assets: tuple[Known, ...], unwanted: dict[str, float], depth: int, fusion: str
) -> None:
    pool = pool_of(lists, unwanted, fusion=fusion)
    question = question_of(pool, signals_for(pool, assets), depth)
    reranked = RERANKER.rerank(question)
    for answer in (reranked, None):
        ranked = in_order(pool, answer)
        assert sorted(one.place for one in ranked) == list(range(len(pool.fused)))
        for one in ranked:
            assert math.fsum(part.value for part in one.parts) == pytest.approx(one.score, abs=1e-9)
            assert pool.fused[one.place].asset_id == one.asset_id
        scores = [one.score for one in ranked]
        assert all(a >= b - 1e-12 for a, b in itertools.pairwise(scores))
        ties = [(-one.score, one.asset_id) for one in ranked[: len(question.asset_ids)]]
        assert ties == sorted(ties) or answer is None
    assert in_order(pool, reranked) == in_order(pool, RERANKER.rerank(question))


@LAWS
@given(LISTS, ASSETS, DEPTHS)
def test_beyond_the_depth_the_fused_order_stays_behind(
    lists: Lists, assets: tuple[Known, ...], depth: int
) -> None:
    pool = pool_of(lists)
    ranked = in_order(pool, RERANKER.rerank(question_of(pool, signals_for(pool, assets), depth)))
    count = min(depth, len(pool.fused))
    assert {one.place for one in ranked[:count]} == set(range(count))
    assert [one.place for one in ranked[count:]] == list(range(count, len(pool.fused)))
    for one in ranked[count:]:
        assert all(part.value <= 0 for part in one.parts if part.feature == BEYOND)


@LAWS
@given(LISTS, ASSETS, STRENGTHS)
def test_features_and_penalties_are_finite_shares_in_a_known_order(
    lists: Lists, assets: tuple[Known, ...], unwanted: dict[str, float]
) -> None:
    pool = pool_of(lists, unwanted)
    signals = signals_for(pool, assets, fields={"tags": lists.get(Axis.FTS, {})})
    for told, names in (
        (features_of(pool, signals, 9), FEATURES),
        (penalties_of(pool, signals, 9), PENALTIES),
    ):
        assert told.values.shape == (min(9, len(pool.fused)), len(told.names))
        assert np.isfinite(told.values).all()
        assert ((told.values >= 0) & (told.values <= 1)).all()
        assert set(told.names) <= set(names)
    deeper = features_of(pool, signals, len(pool.fused)).values
    assert (features_of(pool, signals, 3).values == deeper[:3]).all()


def with_values(told: Features, row: int, changes: Mapping[str, float]) -> Features:
    values = told.values.copy()
    for name, value in changes.items():
        values[row, told.names.index(name)] = value
    return replace(told, values=values)


@LAWS
@given(LISTS, ASSETS, st.data())
def test_more_of_a_feature_never_lowers_a_rank_and_more_against_never_raises_one(
    lists: Lists, assets: tuple[Known, ...], data: st.DataObject
) -> None:
    pool = pool_of(lists)
    question = question_of(pool, signals_for(pool, assets), len(pool.fused))
    row = data.draw(st.integers(0, len(pool.fused) - 1))

    def rank(asked: object) -> int:
        order = in_order(pool, RERANKER.rerank(asked))  # type: ignore[arg-type]
        return [one.place for one in order].index(row)

    before = rank(question)
    name = data.draw(st.sampled_from(question.features.names))
    own = question.features.values[row, question.features.names.index(name)]
    more = with_values(question.features, row, {name: data.draw(st.floats(own, 1.0))})
    assert rank(replace(question, features=more)) <= before
    name = data.draw(st.sampled_from(question.penalties.names))
    own = question.penalties.values[row, question.penalties.names.index(name)]
    against = with_values(question.penalties, row, {name: data.draw(st.floats(own, 1.0))})
    assert rank(replace(question, penalties=against)) >= before


@LAWS
@given(LISTS, st.data())
def test_the_unwanted_fall_with_and_without_reranking(lists: Lists, data: st.DataObject) -> None:
    pool = pool_of(lists)
    chosen = data.draw(st.sampled_from(pool.asset_ids))
    held = pool_of(lists, {chosen: 1.0})
    last = in_order(held, None)[-1]
    assert last.asset_id == chosen
    assert any(part.feature == "penalty.unwanted" for part in last.parts)
    plain = RERANKER.rerank(question_of(pool, signals_for(pool, ()), len(pool.fused)))
    strict = RERANKER.rerank(question_of(held, signals_for(held, ()), len(pool.fused)))
    before = scores_in(pool, plain)[pool.asset_ids.index(chosen)]
    assert scores_in(held, strict)[held.asset_ids.index(chosen)] < before


def test_likeness_counts_where_it_stands_out_and_words_always() -> None:
    pool = pool_of({Axis.VV: {a: 14.0 - n for n, a in enumerate(IDS)}})
    flat = replace(pool, unwanted={Axis.VV: np.full(len(IDS), 0.3)})
    assert not strengths_of(flat, ()).any()
    outlier = np.full(len(IDS), 0.3)
    outlier[5], outlier[6] = 0.6, np.nan
    strengths = strengths_of(replace(pool, unwanted={Axis.VV: outlier}), ())
    assert strengths[5] > 0
    assert strengths.sum() == strengths[5]
    assert strengths_of(flat, {IDS[2]}).tolist() == [float(a == IDS[2]) for a in pool.asset_ids]


@LAWS
@given(LISTS, st.floats(0, 1))
def test_the_depth_is_within_its_bounds_and_falls_with_confidence(
    lists: Lists, confidence: float
) -> None:
    pool = pool_of(lists)
    asked = signals_for(pool, ()).question
    sure, unsure = replace(asked, confidence=1.0), replace(asked, confidence=confidence)
    bounds = Depth(least=3, most=9)
    assert 0 <= difficulty_of(pool, sure, 3) <= difficulty_of(pool, unsure, 3) <= 1
    for question in (sure, unsure):
        depth = depth_of(pool, question, bounds)
        assert min(3, len(pool.fused)) <= depth <= min(9, len(pool.fused))
    assert depth_of(pool, sure, bounds) <= depth_of(pool, unsure, bounds)


def test_axes_that_agree_make_a_query_easy() -> None:
    found = {a: 9.0 - n for n, a in enumerate(IDS)}
    alike = pool_of({Axis.VV: found, Axis.MV: found})
    sure = replace(signals_for(alike, ()).question, confidence=1.0)
    assert depth_of(alike, sure, Depth(least=14, most=14)) == len(IDS)
    assert difficulty_of(alike, sure, 14) == 0.0
    assert difficulty_of(pool_of({Axis.VV: found}), sure, 14) == 1.0


def test_a_profile_without_reranking_keeps_what_fusion_said() -> None:
    pool = pool_of({Axis.VV: {"00": 2.0, "01": 1.0}})
    old = FeatureReranker(PROFILE.model_copy(update={"rerank": None}))
    answer = old.rerank(question_of(pool, signals_for(pool, ()), 2))
    assert isinstance(answer, Reranked)
    assert answer.names == ("rrf.vv",)
    assert [one.score for one in in_order(pool, answer)] == [one.score for one in pool.fused]
