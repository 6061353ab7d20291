"""Fusion by scores: its laws, and that both methods stand behind one function."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecm.search.fusion import distribution_shares, fused, most, weighted_dbsf, weighted_rrf

ASSETS = [f"{number:02x}" for number in range(12)]
AXES = ("vv", "x", "mv", "fts")
SCORES = st.floats(-1e6, 1e6)


def ranked(scores: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))


rankings = st.fixed_dictionaries(
    {axis: st.dictionaries(st.sampled_from(ASSETS), SCORES).map(ranked) for axis in AXES}
)
weights = st.fixed_dictionaries({axis: st.floats(0.01, 10.0) for axis in AXES})
methods = st.sampled_from(["rrf", "dbsf"])


@given(st.lists(SCORES, min_size=2, max_size=30))
def test_shares_are_those_of_the_formula(scores: list[float]) -> None:
    shares = distribution_shares(np.array(scores))
    deviation = statistics.stdev(scores)
    if max(scores) - min(scores) <= 1e-6 * max(1.0, abs(max(scores)), abs(min(scores))):
        return
    low = statistics.fmean(scores) - 3 * deviation
    plain = [min(1.0, max(0.0, (score - low) / (6 * deviation))) for score in scores]
    assert shares == pytest.approx(plain, abs=1e-6)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20))
def test_any_finite_scores_have_shares_in_order(scores: list[float]) -> None:
    shares = distribution_shares(np.array(scores, dtype=np.float64))
    assert ((shares >= 0) & (shares <= 1)).all()
    order = np.argsort(np.array(scores), kind="stable")
    assert (np.diff(shares[order]) >= 0).all()


@given(rankings, weights, st.floats(0.01, 100), st.floats(-100, 100))
def test_neither_scale_nor_zero_of_an_axis_matters(
    lists: dict[str, list[tuple[str, float]]], weight: dict[str, float], scale: float, shift: float
) -> None:
    before = {one.asset_id: one.score for one in weighted_dbsf(lists, weight)}
    moved = {**lists, "vv": [(a, score * scale + shift) for a, score in lists["vv"]]}
    spread = {score for _, score in lists["vv"]}
    if len(spread) > 1 and (max(spread) - min(spread)) < 1e-3 * max(map(abs, spread)):
        return  # what floats keep of the differences decides
    if len({score for _, score in moved["vv"]}) != len(spread):
        return
    after = {one.asset_id: one.score for one in weighted_dbsf(moved, weight)}
    assert after == pytest.approx(before, abs=1e-4)


@given(methods, rankings, weights)
def test_scores_are_exact_sums_descend_and_never_exceed_the_most(
    method: str, lists: dict[str, list[tuple[str, float]]], weight: dict[str, float]
) -> None:
    merged = fused(lists, weight, method, 60)  # type: ignore[arg-type]
    assert {one.asset_id for one in merged} == {a for one in lists.values() for a, _ in one}
    keys = [(-one.score, one.asset_id) for one in merged]
    assert keys == sorted(keys)
    for one in merged:
        assert one.score == math.fsum(one.summands.values())
        assert 0 <= one.score <= most(weight.values(), method, 60) + 1e-12  # type: ignore[arg-type]


@given(rankings, weights)
def test_by_ranks_only_the_order_counts(
    lists: dict[str, list[tuple[str, float]]], weight: dict[str, float]
) -> None:
    ids = {axis: [asset_id for asset_id, _ in one] for axis, one in lists.items()}
    assert fused(lists, weight, "rrf", 7) == weighted_rrf(ids, weight, k=7)


@pytest.mark.parametrize(
    "lists",
    [{"vv": [("a", 1.0), ("a", 0.5)]}, {"vv": [("a", math.nan)]}, {"vv": [("a", math.inf)]}],
)
def test_what_cannot_be_merged_is_refused(lists: dict[str, list[tuple[str, float]]]) -> None:
    with pytest.raises(ValueError, match=r"twice|finite"):
        weighted_dbsf(lists, {"vv": 1.0})


def test_a_single_score_says_nothing_and_counts_half() -> None:
    merged = weighted_dbsf({"vv": [("a", 0.1)], "x": [("b", 9.0)]}, {"vv": 1.0, "x": 2.0})
    assert [(one.asset_id, one.score) for one in merged] == [("b", 1.0), ("a", 0.5)]
