"""Agreement is that of scikit-learn and statsmodels where they have one, and defined elsewhere."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats import inter_rater

from ecm.errors import ContractError
from ecm.evaluation.agreement import (
    agreement,
    cohen_kappa,
    fleiss_kappa,
    gwet_ac1,
    pabak,
    raw_agreement,
)

LABEL = st.integers(0, 2)


@given(st.lists(st.tuples(LABEL, LABEL), min_size=1, max_size=60))
def test_cohens_kappa_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    first, second = [one for one, _ in pairs], [other for _, other in pairs]
    found = cohen_kappa(first, second)
    if len(set(first) | set(second)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)


@given(st.integers(2, 5).flatmap(lambda n: st.lists(st.tuples(*[LABEL] * n), min_size=1)))
def test_fleiss_kappa_and_pabak_are_those_of_statsmodels(ratings: list[tuple[int, ...]]) -> None:
    table = [[Counter(one)[category] for category in range(3)] for one in ratings]
    randolph = inter_rater.fleiss_kappa(table, method="randolph")
    assert pabak(ratings) == pytest.approx(randolph, abs=1e-12)
    found = fleiss_kappa(ratings)
    if len({label for one in ratings for label in one}) == 1:
        assert found is None
    else:
        assert found == pytest.approx(inter_rater.fleiss_kappa(table), abs=1e-12)


@given(st.lists(st.lists(LABEL, min_size=2, max_size=4), min_size=1, max_size=30))
def test_what_corrects_for_chance_is_never_above_one_and_all_alike_is_one(
    ratings: list[list[int]],
) -> None:
    found = agreement(ratings)
    values = (found.raw, found.fleiss, found.ac1, found.pabak)
    assert all(value is None or value <= 1 + 1e-12 for value in values)
    alike = agreement([[one[0]] * len(one) for one in ratings])
    assert (alike.raw, alike.ac1, alike.pabak) == (1.0, 1.0, 1.0)
    assert alike.fleiss in (None, 1.0)
    assert raw_agreement(ratings) == found.raw


def test_ac1_and_pabak_see_the_agreement_that_kappa_calls_chance() -> None:
    # 118 yes-yes, 5 yes-no, 2 no-yes, 0 no-no, by the formula of Gwet (2008).
    ratings = [(1, 1)] * 118 + [(1, 0)] * 5 + [(0, 1)] * 2
    shares = (7 / 250, 243 / 250)
    chance = 2 * shares[0] * shares[1]
    raw = 118 / 125
    assert gwet_ac1(ratings, (0, 1)) == pytest.approx((raw - chance) / (1 - chance), abs=1e-12)
    assert pabak(ratings, (0, 1)) == pytest.approx(2 * raw - 1, abs=1e-12)
    assert cohen_kappa([a for a, _ in ratings], [b for _, b in ratings]) < 0
    assert agreement(ratings, (0, 1)).ac1 > 0.94


def test_one_category_of_all_has_no_kappa_and_a_reason() -> None:
    found = agreement([(2, 2)] * 9)
    assert (found.cohen, found.fleiss) == (None, None)
    assert (found.raw, found.ac1, found.pabak) == (1.0, 1.0, 1.0)
    assert "every label is 2" in found.reason


def test_items_of_one_label_tell_nothing_and_three_labelers_have_no_cohen() -> None:
    assert agreement([(1,), ()]).reason == "no item has two labels"
    assert agreement([(1, 1), (0, 1), (2,)]).items == 2
    three = agreement([(0, 1, 1), (2, 2, 2)])
    assert three.cohen is None
    assert three.fleiss is not None
    assert "two labelers" in three.reason


def test_categories_and_lengths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ContractError, match="category 7"):
        fleiss_kappa([(7, 1)])
    with pytest.raises(ContractError, match="1 labels against 2"):
        cohen_kappa([1], [1, 1])
