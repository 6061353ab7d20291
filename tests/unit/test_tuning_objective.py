"""What is learned by: the measure itself, a stand-in with a true gradient, folds, choices."""

from __future__ import annotations

import numpy as np
import pytest

from ecm.contracts.measured import Measure
from ecm.errors import ConfigError
from ecm.evaluation.measures import values_of
from ecm.tuning.choosing import STRONGEST, chosen, folds_of
from ecm.tuning.examples import WEIGHTS, Floats
from ecm.tuning.factors import Spread, learned_factors, section_of
from ecm.tuning.objective import Batch
from ecm.tuning.rows import absolute, backwards
from tests.planted import planted

NUMBERS = np.random.default_rng(7)


def weights_for(batch: Batch) -> Floats:
    return NUMBERS.uniform(0.1, 2.0, (len(batch.examples), len(WEIGHTS)))


def test_the_measure_is_that_of_the_evaluation() -> None:
    batch = Batch(planted(20, 3))
    weights = weights_for(batch)
    mine = batch.ndcg(weights)
    scores = batch.scores(weights)
    at = 0
    for one, found in zip(batch.examples, mine, strict=True):
        own, at = scores[at : at + len(one.gains)], at + len(one.gains)
        ranked = [str(place) for place in np.argsort(-own, kind="stable")]
        relevance = {str(place): int(gain) for place, gain in enumerate(one.gains)}
        theirs = values_of(ranked, relevance, complete=True)[Measure.NDCG_10]
        assert found == pytest.approx(theirs, abs=1e-12)


def test_the_gradient_is_that_of_the_stand_in() -> None:
    batch = Batch(planted(6, 4))
    weights = weights_for(batch)
    value, by_absolute = batch.loss(absolute(weights, batch.answering))
    gradient = backwards(by_absolute, weights, batch.answering)
    assert 0 < value < 1
    for query, place in ((0, 0), (1, 2), (2, 3), (3, 5), (5, 12)):
        moved = []
        for step in (1e-6, -1e-6):
            own = weights.copy()
            own[query, place] += step
            moved.append(batch.loss(absolute(own, batch.answering))[0])
        assert gradient[query, place] == pytest.approx((moved[0] - moved[1]) / 2e-6, abs=1e-7)


def test_what_axes_count_together_changes_nothing() -> None:
    batch = Batch(planted(5, 5))
    weights = weights_for(batch)
    larger = weights.copy()
    larger[:, :4] *= 3.0
    first, second = (absolute(one, batch.answering) for one in (weights, larger))
    np.testing.assert_allclose(first, second)


def test_groups_are_in_one_fold_and_seeds_deal_them_out() -> None:
    examples = planted(60, 1, per_group=3)
    fold = folds_of(examples, 5, 0)
    places: dict[str, set[int]] = {}
    for one, own in zip(examples, fold, strict=True):
        places.setdefault(one.group, set()).add(int(own))
    assert all(len(own) == 1 for own in places.values())
    assert sorted(set(fold)) == [0, 1, 2, 3, 4]
    assert (fold == folds_of(list(reversed(examples)), 5, 0)[::-1]).all()
    assert (fold != folds_of(examples, 5, 1)).any()
    with pytest.raises(ConfigError, match="fewer --folds"):
        folds_of(examples[:3], 5, 0)


def test_what_does_not_show_is_not_learned() -> None:
    """Of regularisers that do alike, the strongest; a clear winner is taken."""
    examples = planted(40, 2)
    fold = folds_of(examples, 4, 0)

    def alike(batch: Batch, regulariser: float):  # type: ignore[no-untyped-def]
        return lambda held: np.ones((len(held.examples), len(WEIGHTS)))

    assert chosen(examples, fold, alike, (0.1, 1.0, STRONGEST)).regulariser == STRONGEST

    def better(batch: Batch, regulariser: float):  # type: ignore[no-untyped-def]
        def weights(held: Batch) -> Floats:
            own = np.zeros((len(held.examples), len(WEIGHTS)))
            own[:, 0 if regulariser == 1.0 else 2] = 1.0
            return own

        return weights

    assert chosen(examples, fold, better, (0.1, 1.0, STRONGEST)).regulariser in (0.1, 1.0)


def test_a_section_predicts_what_was_learned() -> None:
    batch = Batch(planted(60, 6))
    rows = np.ones((6, len(WEIGHTS)))
    spread = Spread.of(batch.told)
    found = learned_factors(batch, rows, spread, 1e-3)
    section = section_of(found, spread)
    assert section.factors, "there was something to learn"
    assert section_of(learned_factors(batch, rows, spread, 1e-3), spread) == section
    assert section_of(np.zeros_like(found), spread).factors == {}
