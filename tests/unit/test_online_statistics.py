"""Intervals that are looked at all the time hold all the time; a broken split is noticed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ecm.errors import ContractError
from ecm.evaluation.online.sample_ratio import sample_ratio
from ecm.evaluation.online.sequential import (
    Events,
    Moments,
    Plan,
    RatioMoments,
    difference,
    mean,
    preference,
    rate_ratio,
    ratio_difference,
)

RUNS, STEPS = 100, 400
PLAN = Plan(alpha=0.05, tuned_for=STEPS, least=30)
NUMBERS = st.lists(st.floats(-100, 100), min_size=2, max_size=30)


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_arms_that_are_alike_seldom_differ_though_each_step_is_looked_at(share: float) -> None:
    alarms = 0
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        sides = [Moments(), Moments()]
        found = []
        for value, arm in zip(
            (rng.random(STEPS) < 0.3).astype(float).tolist(),
            (rng.random(STEPS) < share).astype(int).tolist(),
            strict=True,
        ):
            sides[arm] += Moments(1, value, value * value)
            found.append(difference(sides[0], sides[1], PLAN))
        alarms += any(one is not None and one.excludes(0.0) for one in found)
    assert alarms / RUNS <= 0.05


def test_errors_and_preferences_that_are_alike_seldom_differ() -> None:
    errors = preferred = 0
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        failed = np.cumsum(rng.random((STEPS, 2)) < 0.02, axis=0).tolist()
        errors += any(
            (found := rate_ratio(Events(a, n), Events(b, n), PLAN)) is not None
            and found.excludes(1.0)
            for n, (a, b) in enumerate(failed, start=1)
            if n % 8 == 0
        )
        wins = np.cumsum(rng.random(STEPS) < 0.5).tolist()
        preferred += any(
            (found := preference(won, n - won, PLAN)) is not None and found.excludes(0.0)
            for n, won in enumerate(wins, start=1)
            if n % 8 == 0
        )
    assert errors / RUNS <= 0.05
    assert preferred / RUNS <= 0.06


def test_a_real_difference_is_told_in_the_end_and_its_size_lies_within() -> None:
    rng = np.random.default_rng(1)
    arms = [Moments.of((rng.random(4000) < rate).astype(float)) for rate in (0.4, 0.5)]
    found = difference(arms[0], arms[1], Plan())
    assert found is not None
    assert 0 < found.lower < 0.1 < found.upper
    assert found.units == 8000
    won = preference(600, 400, Plan())
    assert won is not None
    assert won.estimate == pytest.approx(0.2)
    assert won.excludes(0.0)
    spiked = rate_ratio(Events(3, 1000), Events(40, 1000), Plan())
    assert spiked is not None
    assert spiked.lower > 1 < spiked.estimate < spiked.upper


def test_before_there_is_enough_nothing_is_said() -> None:
    few, many = Moments.of([1.0] * 29), Moments.of([1.0, 0.0] * 50)
    assert difference(few, many, PLAN) is None
    assert mean(few, PLAN) is None
    assert preference(0, 0, PLAN) is None
    assert rate_ratio(Events(0, 9), Events(0, 9), PLAN) is None
    assert ratio_difference(RatioMoments(), RatioMoments.of([(1.0, 1.0)] * 99), PLAN) is None
    only = rate_ratio(Events(0, 100), Events(9, 100), PLAN)
    assert only is not None
    assert math.isinf(only.upper)
    with pytest.raises(ContractError, match="no plan"):
        Plan(alpha=1.0)


@given(NUMBERS, NUMBERS)
def test_sums_of_days_are_the_sums_of_all(one: list[float], other: list[float]) -> None:
    together, added = Moments.of([*one, *other]), Moments.of(one) + Moments.of(other)
    assert (added.count, added.total) == (together.count, pytest.approx(together.total))
    assert added.variance == pytest.approx(np.var([*one, *other], ddof=1), rel=1e-6, abs=1e-6)


def test_the_error_of_a_ratio_is_that_of_people_not_of_their_searches() -> None:
    rng = np.random.default_rng(2)
    people = [[(float(k), 5.0) for k in rng.choice([0, 5], 400)] for _ in range(2)]
    found = ratio_difference(*(RatioMoments.of(arm) for arm in people), PLAN)
    singly = difference(
        *(Moments.of([above / below for above, below in arm]) for arm in people), PLAN
    )
    assert found is not None
    assert singly is not None
    assert (found.lower, found.upper) == pytest.approx((singly.lower, singly.upper), abs=1e-3)


@given(st.integers(0, 400), st.integers(0, 400))
def test_bounds_of_preference_hold_the_estimate_and_mirror(wins: int, losses: int) -> None:
    found, turned = preference(wins, losses, PLAN), preference(losses, wins, PLAN)
    if found is None or turned is None:
        assert wins + losses == 0
        return
    assert -1 <= found.lower <= found.estimate <= found.upper <= 1
    assert found.lower == pytest.approx(-turned.upper, abs=1e-9)


def test_49_to_51_of_twenty_thousand_sessions_is_noticed_and_half_and_half_is_not() -> None:
    broken = sample_ratio((9_800, 10_200), (1, 1))
    assert broken.p < 0.02
    assert broken.p_once == pytest.approx(stats.chisquare((9_800, 10_200)).pvalue)
    assert broken.expected == (10_000.0, 10_000.0)
    assert sample_ratio((9_960, 10_040), (1, 1)).p > 0.5
    assert sample_ratio((1_000, 8_800), (1, 9)).p > sample_ratio((800, 9_000), (1, 9)).p
    assert sample_ratio((60, 140), (1, 1)).p < 0.01
    assert sample_ratio((490_000, 510_000), (1, 1)).p < 1e-6
    assert sample_ratio((0, 0), (1, 1)).p == 1.0
    assert sample_ratio((3_000, 3_400, 3_000), (1, 1, 1)).p < 0.02


def test_an_even_split_that_is_looked_at_always_is_seldom_called_broken() -> None:
    broken = 0
    for seed in range(200):
        walk = np.cumsum(np.random.default_rng(seed).random(3_000) < 0.5).tolist()
        broken += any(
            sample_ratio((landed, units - landed), (1, 1), planned=2_000).p < 0.05
            for units, landed in enumerate(walk, start=1)
            if units % 40 == 0
        )
    assert broken / 200 <= 0.07


@pytest.mark.parametrize(
    ("counts", "shares", "planned"),
    [((1,), (1,), 9), ((1, -1), (1, 1), 9), ((1, 1), (1, 0), 9), ((1, 1), (1, 1), 0)],
)
def test_what_is_no_split_is_refused(counts, shares, planned) -> None:
    with pytest.raises(ContractError):
        sample_ratio(counts, shares, planned)
