"""Intervals hold what they say, power is what is printed, all of it plays again from its seed."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ecm.errors import ContractError
from ecm.evaluation.shares import paired_shares, sign_test
from ecm.evaluation.significance import paired, paired_quantile, paired_relative

SAMPLES = 300


def differences(rng: np.random.Generator, count: int) -> np.ndarray:
    """Of two rankings: two thirds are 0, the rest of either sign."""
    sizes = rng.beta(1.2, 4.0, count) * rng.choice([-1, 1], count)
    return np.where(rng.random(count) < 0.65, 0.0, sizes)


@pytest.mark.parametrize(("count", "samples"), [(50, 1000), (300, 300)])
def test_the_interval_holds_the_truth_as_often_as_it_says(count: int, samples: int) -> None:
    rng = np.random.default_rng(3)
    held = 0
    for seed in range(samples):
        found = paired(np.zeros(count), differences(rng, count), resamples=1000, seed=seed)
        held += found.lower <= 0 <= found.upper
    assert held / samples == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / samples))


def test_what_is_detectable_is_detected_four_times_of_five() -> None:
    rng = np.random.default_rng(4)
    found = 0
    for seed in range(SAMPLES):
        first = paired(np.zeros(100), differences(rng, 100), resamples=1000, seed=seed)
        drop = first.detectable_beyond(0.01)
        again = paired(np.zeros(100), differences(rng, 100) - drop, resamples=1000, seed=seed)
        found += again.upper < 0 and again.change < -0.01
    assert found / SAMPLES > 0.77


def test_ten_thousand_resamples_of_five_hundred_queries_take_less_than_a_second() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.random(500), rng.random(500)
    paired(before[:9], after[:9])
    began = time.process_time()
    paired(before, after)
    assert time.process_time() - began < 1.0


def test_the_interval_is_near_that_of_scipy_and_the_test_is_scipys() -> None:
    rng = np.random.default_rng(5)
    before = rng.random(500)
    after = before + differences(rng, 500)
    found = paired(before, after)
    theirs = stats.bootstrap(
        (after - before,), np.mean, n_resamples=10_000, method="percentile", batch=1000, rng=rng
    ).confidence_interval
    assert (found.lower, found.upper) == pytest.approx((theirs.low, theirs.high), abs=4e-4)
    assert found.wilcoxon_p == stats.wilcoxon(after - before).pvalue
    assert found == paired(before, after)
    assert found != paired(before, after, seed=1)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=40))
def test_builds_that_score_the_same_have_no_interval_and_nothing_detectable(
    values: list[float],
) -> None:
    same = np.array(values)
    found = paired(same, same, resamples=1000)
    assert (found.change, found.lower, found.upper) == (0.0, 0.0, 0.0)
    assert found.wilcoxon_p == 1.0
    assert found.detectable is None


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=40))
def test_sides_are_mirrors(pairs: list[tuple[float, float]]) -> None:
    one, other = np.array(pairs).T
    there, back = paired(one, other, resamples=1000), paired(other, one, resamples=1000)
    assert there.change == pytest.approx(-back.change)
    assert there.lower == pytest.approx(-back.upper)
    assert there.lower <= there.change <= there.upper


def test_relative_changes_and_quantiles_scale() -> None:
    rng = np.random.default_rng(6)
    before = rng.random(100) + 0.1
    found = paired_relative(before, 1.1 * before)
    assert (found.change, found.lower, found.upper) == pytest.approx((0.1, 0.1, 0.1))
    times = rng.lognormal(3, 0.5, (100, 3))
    times[4, 1] = np.nan
    slower = paired_quantile(times, 1.3 * times)
    assert (slower.change, slower.lower, slower.upper) == pytest.approx((0.3, 0.3, 0.3))


def test_the_interval_of_a_quantile_holds_an_unchanged_latency() -> None:
    rng = np.random.default_rng(7)
    held = 0
    for seed in range(200):
        usual = rng.lognormal(3, 0.4, (100, 1))
        sides = [usual * rng.lognormal(0, 0.2, (100, 3)) for _ in range(2)]
        found = paired_quantile(sides[0], sides[1], resamples=500, seed=seed)
        held += found.lower <= 0 <= found.upper
    assert held / 200 > 0.92


def test_what_cannot_be_compared_is_refused() -> None:
    two = np.array([0.1, 0.2])
    for wrong in (np.array([0.1]), np.array([0.1, np.nan]), np.array([[0.1], [0.2]])):
        with pytest.raises(ContractError):
            paired(two, wrong)
    with pytest.raises(ContractError, match="2"):
        paired(two[:1], two[:1])
    with pytest.raises(ContractError, match="baseline that is 0"):
        paired_relative(np.zeros(2), two)
    with pytest.raises(ContractError, match="above 0"):
        paired_quantile(np.zeros((2, 1)), np.ones((2, 1)))
    with pytest.raises(ContractError, match="gaps"):
        paired_quantile(np.array([[np.nan], [1.0]]), np.ones((2, 1)))
    with pytest.raises(ContractError, match="0 to 1"):
        paired_shares(two, 9 * two)


def test_shares_have_the_score_interval_and_the_exact_test() -> None:
    none = np.zeros(100)
    alike = paired_shares(none, none)
    z = stats.norm.ppf(0.975)
    assert alike.upper == pytest.approx(z * z / (100 + z * z), abs=1e-6)
    assert alike.lower == pytest.approx(-alike.upper, abs=1e-9)
    some = none.copy()
    some[:6] = 1
    found = paired_shares(none, some)
    assert found.p == pytest.approx(stats.binomtest(6, 6, alternative="greater").pvalue)
    assert found.significant
    assert not paired_shares(none, np.where(some, 0, 0.0)).significant
    assert sign_test(4, 0) > 0.025
    assert paired_shares(none[:3], none[:3]).detectable_beyond(0.0) is None


@pytest.mark.parametrize("rates", [(0.02, 0.02), (0.1, 0.2)])
def test_the_interval_of_shares_holds_the_truth(rates: tuple[float, float]) -> None:
    rng = np.random.default_rng(8)
    held = 0
    for _ in range(500):
        sides = [(rng.random(100) < rate).astype(np.float64) for rate in rates]
        found = paired_shares(sides[0], sides[1])
        held += found.lower <= rates[1] - rates[0] <= found.upper
    assert held / 500 > 0.93


def test_a_detectable_rise_of_failures_is_detected_four_times_of_five() -> None:
    rise = paired_shares(np.zeros(300), np.zeros(300)).detectable_beyond(0.005)
    rng = np.random.default_rng(9)
    found = sum(
        paired_shares(np.zeros(300), (rng.random(300) < rise).astype(np.float64)).significant
        for _ in range(500)
    )
    assert 0.75 < found / 500 < 0.86
