from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecm.search.fusion import weighted_rrf

ASSETS = [f"{number:02x}" for number in range(12)]
AXES = ("vv", "x", "mv", "fts")

rankings = st.fixed_dictionaries({axis: st.permutations(ASSETS).flatmap(
    lambda order: st.integers(0, len(order)).map(lambda n: order[:n])
) for axis in AXES})  # fmt: skip
weights = st.fixed_dictionaries({axis: st.floats(0.01, 10.0) for axis in AXES})


def test_two_rankings_give_the_sums_of_the_paper() -> None:
    merged = weighted_rrf({"vv": ["a", "b", "c"], "fts": ["c", "a"]}, {"vv": 1.0, "fts": 2.0}, k=60)
    expected = {"a": 1 / 61 + 2 / 62, "b": 1 / 62, "c": 1 / 63 + 2 / 61}
    assert {one.asset_id: one.score for one in merged} == pytest.approx(expected, abs=1e-15)
    assert [one.asset_id for one in merged] == ["c", "a", "b"]


@given(rankings, weights)
def test_the_order_of_the_rankings_changes_nothing(
    lists: dict[str, list[str]], weight: dict[str, float]
) -> None:
    first = weighted_rrf(lists, weight)
    for order in itertools.islice(itertools.permutations(AXES), 6):
        assert weighted_rrf({axis: lists[axis] for axis in order}, weight) == first


@given(rankings, weights)
def test_scores_are_the_exact_sums_of_their_summands_and_descend(
    lists: dict[str, list[str]], weight: dict[str, float]
) -> None:
    merged = weighted_rrf(lists, weight)
    assert {one.asset_id for one in merged} == {asset for one in lists.values() for asset in one}
    keys = [(-one.score, one.asset_id) for one in merged]
    assert keys == sorted(keys)
    for one in merged:
        assert one.score == math.fsum(one.summands.values())


@given(rankings, weights, st.sampled_from(AXES), st.data())
def test_a_better_rank_never_lowers_a_score(
    lists: dict[str, list[str]], weight: dict[str, float], axis: str, data: st.DataObject
) -> None:
    if len(lists[axis]) < 2:
        return
    place = data.draw(st.integers(1, len(lists[axis]) - 1))
    raised = lists[axis][place]
    better = list(lists[axis])
    better[place - 1], better[place] = better[place], better[place - 1]
    before = {one.asset_id: one.score for one in weighted_rrf(lists, weight)}
    after = {one.asset_id: one.score for one in weighted_rrf({**lists, axis: better}, weight)}
    assert after[raised] > before[raised]


def test_equal_ranks_in_different_lists_tie_and_the_asset_id_decides() -> None:
    places = {"b": (7, 11, 2), "a": (2, 7, 11)}
    lists: dict[int, list[str]] = {}
    for source in range(3):
        row = [f"filler-{source}-{rank}" for rank in range(12)]
        for asset, ranks in places.items():
            row[ranks[source]] = asset
        lists[source] = row
    merged = weighted_rrf(lists, dict.fromkeys(range(3), 1.0))
    assert [one.asset_id for one in merged[:2]] == ["a", "b"]
    assert merged[0].score == merged[1].score


@pytest.mark.parametrize(
    ("lists", "weight", "k"),
    [
        pytest.param({"vv": ["a", "a"]}, {"vv": 1.0}, 60, id="asset-twice"),
        pytest.param({"vv": ["a"]}, {"vv": -1.0}, 60, id="negative-weight"),
        pytest.param({"vv": ["a"]}, {"vv": math.nan}, 60, id="nan-weight"),
        pytest.param({"vv": ["a"]}, {"vv": 1.0}, 0, id="k-zero"),
    ],
)
def test_what_cannot_be_merged_is_refused(
    lists: dict[str, list[str]], weight: dict[str, float], k: int
) -> None:
    with pytest.raises(ValueError, match=r"twice|weight|k must"):
        weighted_rrf(lists, weight, k=k)


def test_an_axis_of_weight_zero_brings_no_candidates() -> None:
    merged = weighted_rrf({"vv": ["a"], "x": ["b"]}, {"vv": 1.0, "x": 0.0})
    assert [one.asset_id for one in merged] == ["a"]
