"""Laws of relevance and of the cut-off; where hits would be without some evidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.contracts.search import Axis
from ecm.search.alternatives import Alternatives
from ecm.search.background import Background, background_of
from ecm.search.cutoff import ANSWERED, judged
from ecm.search.ranked import in_order
from ecm.search.rerank import FeatureReranker
from ecm.search.weights import Cutoff
from tests.known_assets import Known
from tests.pools import (
    ASSETS,
    IDS,
    LISTS,
    PROFILE,
    STRENGTHS,
    WEIGHTS,
    Lists,
    pool_of,
    question_of,
    signals_for,
)

LAWS = settings(max_examples=25, deadline=None)
CUTOFF = Cutoff()
BOOSTS = {"tags": 2.0, "caption": 1.0}


@LAWS
@given(LISTS, ASSETS, STRENGTHS, st.floats(0, 1), st.floats(0, 1))
def test_relevance_is_a_share_and_a_higher_threshold_keeps_fewer(
    lists: Lists, assets: tuple[Known, ...], unwanted: dict[str, float], one: float, other: float
) -> None:
    pool = pool_of(lists, unwanted)
    signals = signals_for(pool, assets)
    everything = judged(pool, signals, None, CUTOFF)
    places = range(len(pool.fused))
    assert ((everything.relevance >= 0) & (everything.relevance <= 1)).all()
    assert all(everything.passes(place) for place in places)
    low, high = sorted((one, other))
    kept = [
        {place for place in places if judged(pool, signals, limit, CUTOFF).passes(place)}
        for limit in (low, high)
    ]
    assert kept[1] <= kept[0]
    assert kept[0] == {place for place in places if everything.relevance[place] >= low}


@LAWS
@given(LISTS, ASSETS)
def test_auto_keeps_the_best_or_nothing(lists: Lists, assets: tuple[Known, ...]) -> None:
    pool = pool_of(lists)
    judgement = judged(pool, signals_for(pool, assets), "auto", CUTOFF)
    kept = [place for place in range(len(pool.fused)) if judgement.passes(place)]
    best = float(judgement.relevance.max())
    if best >= ANSWERED:
        assert int(judgement.relevance.argmax()) in kept
    else:
        assert kept == []


@LAWS
@given(LISTS, ASSETS, st.sampled_from(IDS), st.floats(0, 4))
def test_a_higher_score_never_lowers_the_best_relevance(
    lists: Lists, assets: tuple[Known, ...], chosen: str, more: float
) -> None:
    found = dict(lists[Axis.VV])
    found.setdefault(chosen, 0.0)
    pool = pool_of({Axis.VV: found})
    raised = pool_of({Axis.VV: found | {chosen: found[chosen] + more}})
    before = judged(pool, signals_for(pool, assets), None, CUTOFF).relevance.max()
    after = judged(raised, signals_for(raised, assets), None, CUTOFF).relevance.max()
    assert after >= before - 1e-12


def test_scores_like_any_other_answer_nothing_and_an_outlier_does() -> None:
    usual = {a: 2.0 + n / 10 for n, a in enumerate(IDS)}
    pool = pool_of({Axis.VV: usual})
    nothing = judged(pool, signals_for(pool, (), "qwxz"), "auto", CUTOFF)
    assert nothing.threshold == ANSWERED
    assert not any(nothing.passes(place) for place in range(len(IDS)))
    pool = pool_of({Axis.VV: usual | {IDS[0]: 9.0}})
    found = judged(pool, signals_for(pool, (), "zebra"), "auto", CUTOFF)
    assert found.passes(pool.asset_ids.index(IDS[0]))
    # Of a larger tenant the best of random scores is better: the same scores say less.
    larger = judged(pool, signals_for(pool, (), "zebra", rows=10**6), None, CUTOFF)
    assert larger.relevance.max() < found.relevance.max()


def test_an_image_is_answered_by_less_than_words_are_and_cut_more_sharply() -> None:
    pool = pool_of({Axis.VV: {a: 3.5 - n / 5 for n, a in enumerate(IDS)}})
    words = signals_for(pool, (), "zebra")
    shown = replace(words, by_example=True)
    assert judged(pool, words, "auto", CUTOFF).threshold == ANSWERED
    judgement = judged(pool, shown, "auto", CUTOFF)
    assert judgement.passes(0)
    assert judgement.threshold == pytest.approx(judgement.relevance.max() * CUTOFF.share)


def test_the_share_of_the_best_cuts_where_tags_say_what_was_asked() -> None:
    scores = {a: 9.0 - n / 2 for n, a in enumerate(IDS)}
    pool = pool_of({Axis.VV: scores, Axis.FTS: {IDS[0]: 9.0}})
    tagged = (Known(IDS[0], said=(("tag", "dog", 0.9, "run-1"),)), *map(Known, IDS[1:]))
    loose = judged(pool, signals_for(pool, tagged), "auto", Cutoff(share=0.1))
    strict = judged(pool, signals_for(pool, tagged), "auto", Cutoff(share=1.0))
    counts = [sum(one.passes(place) for place in range(len(IDS))) for one in (strict, loose)]
    assert 1 <= counts[0] < counts[1]


def test_heights_are_told_by_the_spread_of_all_scores() -> None:
    usual = background_of(np.array([0.1, 0.3, np.nan]), 50)
    assert (usual.mean, usual.deviation, usual.rows) == (0.2, 0.1, 50)
    assert usual.heights(np.array([0.5, np.nan])) == pytest.approx([3.0, 0.0])
    assert Background(0.2, 0.0, 50).heights(np.array([0.9])).tolist() == [0.0]


@LAWS
@given(LISTS, ASSETS)
def test_without_nothing_that_spoke_for_it_a_hit_stays_where_it_is(
    lists: Lists, assets: tuple[Known, ...]
) -> None:
    pool = pool_of(lists)
    signals = signals_for(pool, assets)
    reranked = FeatureReranker(PROFILE).rerank(question_of(pool, signals, len(pool.fused)))
    ranked = in_order(pool, reranked)
    told = Alternatives(pool, signals, reranked, WEIGHTS, BOOSTS, PROFILE.k, range(len(pool.fused)))
    for one in ranked:
        for without in told.of(one.place):
            if without.without in set(Axis):
                others = [
                    axis for axis in pool.fused[one.place].summands if axis != without.without
                ]
                assert (without.rank is None) == (not others)
            assert without.rank is None or 1 <= without.rank <= len(ranked)


def test_a_hit_that_only_its_tags_brought_is_lost_without_them() -> None:
    pool = pool_of({Axis.VV: {"01": 5.0, "02": 4.0}, Axis.FTS: {"00": 6.0, "01": 2.0}})
    fields = {"tags": {"00": 3.0}, "caption": {"01": 2.0}}
    tagged = (Known("00", said=(("tag", "dog", 0.9, "run-1"),)), Known("01"), Known("02"))
    signals = signals_for(pool, tagged, fields=fields)
    reranked = FeatureReranker(PROFILE).rerank(question_of(pool, signals, 3))
    told = Alternatives(pool, signals, reranked, WEIGHTS, BOOSTS, PROFILE.k, range(3))
    lost = {one.without: one.rank for one in told.of(pool.asset_ids.index("00"))}
    assert lost == {"tags": None, "fts": None}
    both = {one.without: one.rank for one in told.of(pool.asset_ids.index("01"))}
    assert set(both) == {"caption", "vv", "fts"}
    assert None not in both.values()
