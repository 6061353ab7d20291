"""Clicks made into labels: what counts of a log, how ranks are corrected for, and what gets none.

Simulated users know what is relevant and look by rank (`PositionBased`); what is estimated from
their clicks is compared with what they were made of.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from ecm.contracts.evaluation import LabelSource, QueryKind
from ecm.contracts.feedback import FeedbackKind, Shown, StoredEvent
from ecm.evaluation.labels.click_log import ClickCounts, ClickRules, click_counts, normalised
from ecm.evaluation.labels.examination import ClickModel, examined
from ecm.evaluation.labels.weak import WeakRules, attractions, calibrated, weak_labels
from ecm.evaluation.online.click_models import EXAMINATION, PositionBased
from tests.label_sets import NOW, TENANT, asset, label, query

RANKS = 10
THETA = np.array(EXAMINATION[:RANKS])


def impression(
    search: str, assets: list[str], text: str | None = "a dog", unit: str | None = None
) -> StoredEvent:
    return event(
        search,
        FeedbackKind.IMPRESSION,
        unit,
        query=text,
        shown=tuple(Shown(asset_id=one, rank=n) for n, one in enumerate(assets, 1)),
    )


def event(search: str, kind: FeedbackKind, unit: str | None = None, **more: object) -> StoredEvent:
    said = {"tenant_id": TENANT, "kind": kind, "at": NOW, "query_id": search, "unit": unit, **more}
    name = f"{search}-{kind}-{more.get('asset_id', '')}"[:100]
    return StoredEvent.model_validate({"event_id": f"event-{name}", **said})


def click(search: str, asset_id: str, rank: int) -> StoredEvent:
    return event(search, FeedbackKind.CLICK, asset_id=asset_id, rank=rank)


def dwell(search: str, asset_id: str, seconds: float) -> StoredEvent:
    return event(search, FeedbackKind.DWELL, asset_id=asset_id, seconds=seconds)


def unit(number: int) -> str:
    return f"{number:032x}"


def totals(counts: ClickCounts) -> tuple[int, int]:
    return int(counts.shown.sum()), int(counts.clicked.sum())


def test_a_click_counts_when_it_was_not_short() -> None:
    a, b, c = (asset(one) for one in "abc")
    told = [
        impression("s1", [a, b, c], unit=unit(1)),
        click("s1", a, 1),
        click("s1", b, 2),
        click("s1", c, 3),
        dwell("s1", a, 2.0),
        dwell("s1", a, 4.0),
        dwell("s1", b, 1.0),
        click("never-shown", a, 1),
    ]
    counts = click_counts(told, ClickRules())
    assert counts.pairs == tuple(sorted(("a dog", one) for one in (a, b, c)))
    clicked = {counts.pairs[p][1]: int(n) for p, n in zip(counts.pair, counts.clicked, strict=True)}
    assert clicked == {a: 1, b: 0, c: 1}
    assert (counts.searches, counts.too_short) == (1, 1)


def test_nobody_counts_much() -> None:
    a = asset("a")
    of_one = [impression(f"s{n}", [a], unit=unit(1)) for n in range(10)]
    assert totals(click_counts(of_one, ClickRules(per_person=3))) == (3, 0)
    nameless = [impression(f"s{n}", [a]) for n in range(10)]
    counts = click_counts(nameless, ClickRules(per_person=3))
    assert (totals(counts), counts.capped) == ((3, 0), 7)
    many = [impression(f"s{n}", [a], unit=unit(n)) for n in range(10)]
    assert totals(click_counts(many, ClickRules(per_person=3))) == (10, 0)
    machine = [impression(f"m{n}", [a], unit=unit(99)) for n in range(6)]
    counts = click_counts([*many, *machine], ClickRules(per_person=3, robot_searches=5))
    assert (totals(counts), counts.of_robots) == ((10, 0), 6)
    silent = click_counts([impression("s", [a], text=None)], ClickRules())
    assert (totals(silent), silent.without_text) == ((0, 0), 1)


def test_queries_are_the_same_whatever_their_case_and_spaces() -> None:
    a = asset("a")
    told = [impression("s1", [a], "A  Dog", unit(1)), impression("s2", [a], "a dog\n", unit(2))]
    assert click_counts(told, ClickRules()).pairs == (("a dog", a),)
    assert normalised("ﬁsh  Straße") == "fish strasse"


def simulated(
    seed: int, queries: int, sessions: int, skill: float
) -> tuple[ClickCounts, np.ndarray]:
    """Counts of users of the position-based model, and the attractiveness behind them: (q, a).

    The ranking knows `skill` of the attractiveness and changes a little from session to session.
    """
    rng = np.random.default_rng(seed)
    alpha = rng.uniform(0.02, 0.9, (queries, RANKS))
    score = skill * alpha + (1 - skill) * rng.random(alpha.shape)
    noise = rng.normal(0, 0.15, (queries, sessions, RANKS))
    order = np.argsort(-(score[:, None] + noise), axis=2)
    drawn = np.take_along_axis(np.broadcast_to(alpha[:, None], order.shape), order, axis=2)
    clicks = rng.random(order.shape) < THETA * drawn
    pair = (np.arange(queries)[:, None, None] * RANKS + order).ravel()
    cell = pair * RANKS + np.broadcast_to(np.arange(RANKS), order.shape).ravel()
    shown = np.bincount(cell, minlength=queries * RANKS * RANKS)
    clicked = np.bincount(cell, clicks.ravel(), queries * RANKS * RANKS)
    used = np.flatnonzero(shown)
    counts = ClickCounts(
        pairs=tuple((f"q{n // RANKS:03d}", asset(n)) for n in range(queries * RANKS)),
        pair=used // RANKS,
        rank=used % RANKS + 1,
        shown=shown[used],
        clicked=clicked[used].astype(np.int64),
    )
    return counts, alpha.ravel()


def raw_rates(counts: ClickCounts) -> np.ndarray:
    return np.bincount(counts.pair, counts.clicked) / np.bincount(counts.pair, counts.shown)


@pytest.mark.parametrize("skill", [0.0, 0.5])
def test_attractiveness_is_recovered_where_raw_rates_mislead(skill: float) -> None:
    counts, alpha = simulated(7, queries=80, sessions=300, skill=skill)
    examination = examined(counts, ClickModel.POSITION)
    assert np.abs(examination.theta - THETA).max() < 0.06
    found = {one.pair: one for one in attractions(counts, examination, WeakRules())}
    means = np.array([found[pair].mean for pair in counts.pairs])
    correlation = spearmanr(means, alpha).statistic
    raw = spearmanr(raw_rates(counts), alpha).statistic
    assert correlation >= 0.95
    assert correlation - raw > 0.01
    assert raw < 0.9 or skill
    # How far off a picture at the bottom is: its clicks are few whatever it is worth.
    assert np.abs(means - alpha).mean() < 0.05
    assert np.abs(raw_rates(counts) - alpha).mean() > 0.15
    inside = [
        found[p].lower <= a <= found[p].upper for p, a in zip(counts.pairs, alpha, strict=True)
    ]
    assert 0.8 < np.mean(inside) < 0.97


def test_a_good_picture_at_the_bottom_beats_a_bad_one_at_the_top() -> None:
    counts, _ = simulated(3, queries=40, sessions=200, skill=0.0)
    n = len(counts.pairs)
    extra = ClickCounts(
        pairs=(*counts.pairs, ("q", asset("top")), ("q", asset("bottom"))),
        pair=np.append(counts.pair, [n, n + 1]),
        rank=np.append(counts.rank, [1, 10]),
        shown=np.append(counts.shown, [400, 400]),
        clicked=np.append(counts.clicked, [100, 72]),
    )
    rates = raw_rates(extra)
    assert rates[n] > rates[n + 1]
    found = {
        one.pair[1]: one
        for one in attractions(extra, examined(extra, ClickModel.POSITION), WeakRules())
    }
    assert found[asset("top")].upper < found[asset("bottom")].lower


def test_clicks_over_expected_clicks_is_wrong_where_the_ranking_is_good() -> None:
    """Why it is not the default: it takes what good rankings put first for what people look at."""
    counts, _ = simulated(7, queries=80, sessions=300, skill=0.7)
    by_rates = examined(counts, ClickModel.EXPECTED).theta
    by_clicks = examined(counts, ClickModel.POSITION).theta
    assert np.abs(by_clicks - THETA).max() < 0.06
    assert np.abs(by_rates - THETA).max() > 0.15


def test_ranks_that_nothing_ties_to_the_first_say_nothing() -> None:
    fixed = ClickCounts(
        pairs=tuple(("q", asset(n)) for n in range(4)),
        pair=np.array([0, 0, 1, 1, 2, 3]),
        rank=np.array([1, 2, 1, 2, 3, 3]),
        shown=np.array([100, 100, 100, 100, 200, 200]),
        clicked=np.array([50, 25, 20, 10, 90, 2]),
    )
    examination = examined(fixed, ClickModel.POSITION)
    assert examination.unidentified == (3,)
    assert examination.theta[1] == pytest.approx(0.5, abs=0.03)
    assert {one.pair[1] for one in attractions(fixed, examination, WeakRules())} == {
        asset(0), asset(1),
    }  # fmt: skip


def test_a_log_without_clicks_or_without_anything_has_no_labels() -> None:
    empty = click_counts([], ClickRules())
    ignored = click_counts([impression("s", [asset("a")], unit=unit(1))], ClickRules())
    for counts in (empty, ignored):
        for model in ClickModel:
            assert attractions(counts, examined(counts, model), WeakRules()) == ()


def test_labels_come_where_bounds_are_clear_of_the_thresholds() -> None:
    """As events of simulated users with three relevances; labels that come are right."""
    rng = np.random.default_rng(5)
    user = PositionBased()
    truth = {asset(n): int(rng.integers(0, 3)) for n in range(30)}
    told = []
    for n in range(900):
        assets = [str(one) for one in rng.permutation(list(truth))[:RANKS]]
        told.append(impression(f"s{n}", assets, unit=unit(n)))
        for one in user.visit([truth[a] for a in assets], rng):
            told.append(click(f"s{n}", assets[one.rank - 1], one.rank))
            told.append(dwell(f"s{n}", assets[one.rank - 1], 60.0))
    counts = click_counts(told, ClickRules())
    found = attractions(counts, examined(counts, ClickModel.POSITION), WeakRules())
    queries = [
        query("dog", "A dog"),
        query("again", "a  DOG"),
        query("other", "a cat"),
        query("like", "a dog", shown=asset(1), kind=QueryKind.MIXED),
    ]
    labels = weak_labels(found, queries, WeakRules(), "clicks-pbm")
    assert {one.query_id for one in labels} == {"dog", "again"}
    assert {one.label_source for one in labels} == {LabelSource.WEAK}
    of_dog = {one.asset_id: one for one in labels if one.query_id == "dog"}
    assert len(of_dog) >= 20
    wrong = {name for name, one in of_dog.items() if truth[name] != one.relevance}
    assert len(wrong) <= len(of_dog) // 8
    assert all(min(truth[name], of_dog[name].relevance) == 1 for name in wrong)
    assert all(0.5 < one.weight <= 1 for one in labels)
    strict = weak_labels(found, queries, WeakRules(min_looks=1e6), "clicks-pbm")
    assert strict == ()
    people = [label("dog", name, relevance) for name, relevance in truth.items()]
    both = calibrated(found, queries, labels, people)
    assert both.pairs == len(of_dog)
    assert both.same == len(of_dog) - len(wrong)
    assert both.far == 0
    assert both.medians[0] < WeakRules().partly < both.medians[1] < WeakRules().good
    assert both.medians[2] > WeakRules().good
