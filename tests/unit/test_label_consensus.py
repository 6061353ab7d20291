"""How far labelers agree: which kappa, whether it is enough, who and what differs most."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

from ecm.contracts.labelling import Part, Vote
from ecm.evaluation.labels.consensus import LEAST_PAIRS, Consensus, Enough, consensus
from ecm.evaluation.labels.standing import standings
from tests.label_sets import NOW, asset, vote


def votes_of(**said: list[int | None]) -> list[Vote]:
    """The votes of labelers on pairs q0, q1, …; None: cannot say."""
    return [
        vote(f"q{n}", asset(n), relevance, who)
        for who, relevances in said.items()
        for n, relevance in enumerate(relevances)
    ]


def of(votes: list[Vote], target: float = 0.6) -> Consensus:
    return consensus(standings(votes), {}, target)


def noisy(seed: int, flips: float, n: int = 120) -> tuple[list[int], list[int]]:
    rng = np.random.default_rng(seed)
    one = rng.integers(0, 3, n)
    other = np.where(rng.random(n) < flips, rng.integers(0, 3, n), one)
    return one.tolist(), other.tolist()


def test_two_labelers_have_cohens_kappa_and_more_have_fleiss() -> None:
    one, other = noisy(1, 0.3)
    two = of(votes_of(ann=list(one), bob=list(other)))
    assert two.kind == "Cohen"
    assert two.kappa == pytest.approx(cohen_kappa_score(one, other), abs=1e-12)
    assert two.lower is not None
    assert two.upper is not None
    assert two.lower < two.kappa < two.upper
    third, _ = noisy(2, 0.3)
    three = of(votes_of(ann=list(one), bob=list(other), carl=list(third)))
    counts, _ = aggregate_raters(np.array([one, other, third]).T)
    assert three.kind == "Fleiss"
    assert three.kappa == pytest.approx(fleiss_kappa(counts), abs=1e-12)
    assert three.two[0].kappa == pytest.approx(cohen_kappa_score(one, third), abs=0.2)


def test_a_target_is_met_or_missed() -> None:
    one, other = noisy(1, 0.1)
    assert of(votes_of(ann=list(one), bob=list(other))).enough is Enough.MET
    found = of(votes_of(ann=list(one), bob=list(other)), target=0.99)
    assert found.enough is Enough.MISSED
    assert "talk" in found.reason


def test_too_few_pairs_and_votes_all_alike_tell_nothing() -> None:
    few = [0, 1, 2] * (LEAST_PAIRS // 3 - 1)
    found = of(votes_of(ann=list(few), bob=list(few)))
    assert (found.kappa, found.enough) == (1.0, Enough.UNTOLD)
    alike = of(votes_of(ann=[0] * 50, bob=[0] * 50))
    assert (alike.kappa, alike.lower, alike.enough) == (None, None, Enough.UNTOLD)
    assert (alike.of.ac1, alike.of.pabak) == (1.0, 1.0)
    assert "every label is 0" in alike.reason
    nobody = of([])
    assert nobody.enough is Enough.UNTOLD
    assert nobody.figures()["kappa"] is None


def test_low_kappa_where_one_relevance_prevails_is_told_apart() -> None:
    one, other = [0] * 99 + [2], [0] * 98 + [2, 0]
    found = of(votes_of(ann=list(one), bob=list(other)))
    assert found.kappa is not None
    assert found.kappa < 0.1
    assert found.enough is Enough.MISSED
    assert "prevails" in found.reason


def test_who_could_not_say_has_not_disagreed_and_settling_is_no_judgement() -> None:
    told = votes_of(ann=[0, None, 2], bob=[0, 1, 1])
    told.append(vote("q2", asset(2), 2, "carl", NOW + 1, Part.SETTLE))
    found = of(told)
    assert (found.of.items, found.of.raw) == (2, 0.5)
    assert {one.labeler: one.cannot_say for one in found.labelers} == {"ann": 1, "bob": 0}
    assert [one.query_id for one in found.queries] == ["q2"]


def test_it_is_told_who_and_what_differs_most() -> None:
    told = votes_of(ann=[0, 1, 2, 2], bob=[0, 1, 2, 1], odd=[2, 0, 0, 0])
    checks = {("q0", asset(0)): 0, ("q2", asset(2)): 2}
    found = consensus(standings(told), checks)
    assert found.labelers[0].labeler == "odd"
    rights = {one.labeler: (one.right, one.checks) for one in found.labelers}
    assert rights == {"ann": (2, 2), "bob": (2, 2), "odd": (0, 2)}
    assert {found.two[0].other, found.two[1].other} == {"odd"}
    assert found.queries[0].distance == 2.0
    assert found.far == 3
    assert found.labelers[0].seconds == 2.0
