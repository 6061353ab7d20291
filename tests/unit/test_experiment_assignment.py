"""Who gets which arm: the same always, nested from stage to stage, as often as was dealt."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ecm.contracts.experiment import BUCKETS, Arm, Definition, Method, OnlineMetric
from ecm.evaluation.online.assignment import arm_of, bucket_of

UNITS = st.text("0123456789abcdef", min_size=32, max_size=32)
SPLIT = Definition(id="one", treatment="new", method=Method.SPLIT)


def unit(number: int) -> str:
    return f"{number:032x}"


@given(UNITS, st.integers(0, 1))
def test_a_later_stage_has_all_units_of_those_before_it(mark: str, stage: int) -> None:
    if arm_of(SPLIT, stage, mark) is Arm.TREATMENT:
        assert arm_of(SPLIT, stage + 1, mark) is Arm.TREATMENT


@given(UNITS)
def test_who_is_interleaved_first_is_treated_later(mark: str) -> None:
    both = Definition(id="one", treatment="new", stages=(10, 50))
    if arm_of(both, 0, mark) is Arm.INTERLEAVED:
        assert arm_of(both, 1, mark) is Arm.TREATMENT
    else:
        assert arm_of(both, 0, mark) is Arm.CONTROL


def test_stages_have_the_share_that_is_said() -> None:
    count = 20_000
    for stage, step in enumerate(SPLIT.steps()):
        dealt = sum(arm_of(SPLIT, stage, unit(n)) is Arm.TREATMENT for n in range(count))
        share = step.pct / 100
        assert abs(dealt - count * share) < 4 * math.sqrt(count * share * (1 - share))


def test_buckets_are_equally_likely_and_experiments_deal_independently() -> None:
    tenths = Counter(bucket_of("", "one", unit(n)) * 10 // BUCKETS for n in range(10_000))
    assert max(abs(count - 1000) for count in tenths.values()) < 4 * math.sqrt(900)
    both = sum(
        bucket_of("", "one", unit(n)) < BUCKETS // 2
        and bucket_of("", "two", unit(n)) < BUCKETS // 2
        for n in range(10_000)
    )
    assert abs(both - 2500) < 4 * math.sqrt(1875)


def test_a_salt_deals_anew() -> None:
    same = sum(
        bucket_of("", "one", unit(n)) == bucket_of("other", "one", unit(n)) for n in range(1000)
    )
    assert same < 10


@pytest.mark.parametrize(
    "said",
    [
        {"stages": (25, 10)},
        {"stages": (10, 60)},
        {"metrics": ("preference",)},
        {"metrics": ("session_success", "session_success")},
        {"id": "Ümlaut"},
        {"guards": {"p95_ratio": 1.0}},
        {"colour": "blue"},
    ],
)
def test_a_definition_that_means_nothing_is_refused(said: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Definition.model_validate({"id": "one", "treatment": "new", **said})


def test_the_chances_of_all_intervals_add_up_to_alpha() -> None:
    both = Definition(id="one", treatment="new")
    spent = sum(
        both.share_of_alpha(stage) * len(both.metrics_of(step.method))
        for stage, step in enumerate(both.steps())
    )
    assert math.isclose(spent, both.alpha)
    assert both.metrics_of(Method.INTERLEAVING) == (OnlineMetric.PREFERENCE,)
