"""Intervals, verdicts, samples: what a rollout is decided by, without a store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecm.config import conf_folder
from ecm.contracts.identity import ContentIdentity
from ecm.delivery.gates import load_gates
from ecm.delivery.sampling import drawn
from ecm.errors import ConfigError
from ecm.evidence.intervals import Interval, Surety, mean, ratio, share_difference, wilson
from ecm.evidence.trial import chance_corrected, is_refusal
from ecm.evidence.trial_gates import (
    Bounds,
    Gates,
    Outcome,
    RolloutGates,
    Verdict,
    judged,
    outcome,
)

ENDLESS = 10**12
PLACE = ContentIdentity(uri="file:///p.png", size=1, mtime_ns=1)


def flags(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    a = [True] * (both + only_a) + [False] * (only_b + neither)
    b = [True] * both + [False] * only_a + [True] * only_b + [False] * neither
    return np.array(a), np.array(b)


@pytest.mark.parametrize(("share_a", "share_b"), [(0.02, 0.02), (0.02, 0.2), (0.3, 0.4)])
def test_either_bound_holds_the_true_difference_as_often_as_it_says(
    share_a: float, share_b: float
) -> None:
    rng = np.random.default_rng(7)
    below = above = 0
    for _ in range(1000):
        a, b = rng.random(100) < share_a, rng.random(100) < share_b
        found = share_difference(a, b, Surety(0.95, ENDLESS))
        below += found.lower <= share_b - share_a
        above += found.upper >= share_b - share_a
    assert min(below, above) > 925


def test_wilson_has_the_bounds_of_the_score_interval() -> None:
    assert wilson(81 / 263, 263, 1.959964) == pytest.approx((0.2553, 0.3662), abs=1e-4)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(1, 40))
def test_a_sample_of_everything_is_sure_and_one_of_less_is_not(
    both: int, only_a: int, only_b: int, neither: int
) -> None:
    a, b = flags(both, only_a, only_b, neither)
    whole = share_difference(a, b, Surety(0.95, len(a)))
    part = share_difference(a, b, Surety(0.95, 10 * len(a) + 1))
    assert whole.lower == whole.estimate == whole.upper
    assert part.lower <= part.estimate <= part.upper
    assert part.lower < part.upper


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=60), st.integers(0, 5))
def test_means_lie_between_their_bounds_and_are_the_same_each_time(
    values: list[float], seed: int
) -> None:
    numbers = np.array(values)
    surety = Surety(0.95, 10 * len(values), seed)
    found = mean(numbers, surety)
    assert found == mean(numbers, surety)
    assert found.lower <= found.estimate + 1e-9
    assert found.estimate <= found.upper + 1e-9
    doubled = ratio(numbers + 2, 2 * (numbers + 2), surety)
    assert (doubled.lower, doubled.upper) == pytest.approx((2.0, 2.0))


def test_a_verdict_is_sure_only_when_the_whole_interval_is_on_one_side() -> None:
    bounds = Bounds(most=0.05)
    cases = {
        (0.01, 0.0, 0.02): Verdict.PASSED,
        (0.04, 0.0, 0.08): Verdict.LIKELY,
        (0.06, 0.0, 0.12): Verdict.DOUBTFUL,
        (0.2, 0.1, 0.3): Verdict.FAILED,
    }
    for (estimate, lower, upper), verdict in cases.items():
        found = judged("empty_captions", Interval(9, estimate, lower, upper), bounds)
        assert found.verdict is verdict


def test_a_step_of_which_nothing_can_be_told_is_held() -> None:
    gates = RolloutGates()
    fast = judged("throughput", Interval(9, 2.0, 2.0, 2.0), Bounds(least=0.1))
    whole = judged("failures", Interval(9, 0.0, 0.0, 0.0), Bounds(most=0.1))
    said = judged("empty_captions", Interval(9, 0.0, 0.0, 0.0), Bounds(most=0.1))
    maybe = judged("refusals", Interval(9, 0.0, 0.0, 0.2), Bounds(most=0.1))
    assert outcome([fast, whole], gates) is Outcome.HELD
    assert outcome([fast, whole, said], gates) is Outcome.PASSED
    assert outcome([said, maybe], gates) is Outcome.PASSED
    assert outcome([said, maybe], RolloutGates(inconclusive="hold")) is Outcome.HELD


@given(st.sets(st.text(min_size=1, max_size=8), max_size=60), st.integers(0, 30))
def test_samples_are_nested_and_never_smaller_than_they_must_be(
    names: set[str], least: int
) -> None:
    population = {"t": dict.fromkeys(names, PLACE), "u": dict.fromkeys(names, PLACE)}
    before: set[tuple[str, str]] = set()
    for pct in (5, 25, 50, 100):
        sample = drawn(population, "salt", pct, least)
        assets = {(tenant, asset) for tenant, found in sample.items() for asset in found}
        assert before <= assets
        assert len(assets) >= min(least, 2 * len(names))
        before = assets
    assert len(before) == 2 * len(names)


def test_a_quarter_is_a_quarter() -> None:
    population = {"t": {str(number): PLACE for number in range(4000)}}
    assert 900 < len(drawn(population, "salt", 25, 1)["t"]) < 1100


def test_tags_of_unrelated_assets_agree_by_chance_alone() -> None:
    rng = np.random.default_rng(1)
    tags = [frozenset({f"t{n}" for n in rng.integers(0, 6, 3)}) for _ in range(400)]
    others = [tags[place] for place in rng.permutation(400)]
    same, strange = chance_corrected(tags, tags), chance_corrected(tags, others)
    assert same is not None
    assert strange is not None
    assert same.mean() == 1.0
    assert abs(strange.mean()) < 0.1
    assert chance_corrected([frozenset({"a"})] * 9, [frozenset({"a"})] * 9) is None


@pytest.mark.parametrize(
    "caption",
    ["I'm sorry, but I can't help.", "I cannot describe people.", "As an AI, I", "Unable to see"],
)
def test_refusals_are_known(caption: str) -> None:
    assert is_refusal(caption)


@pytest.mark.parametrize("caption", ["a sorry sight", "Tin can on a beach", "I love NY shirt", ""])
def test_captions_are_no_refusals(caption: str) -> None:
    assert not is_refusal(caption)


def test_the_gates_that_are_shipped_are_those_in_code() -> None:
    assert load_gates(conf_folder({}) / "gates.yaml") == Gates()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rollout: {step: [5]}", "rollout.step: unknown key"),
        ("rollout: {steps: [50, 5]}", "steps must rise"),
        ("rollout: {measures: {refusals: {most: 0.1, least: 0.2}}}", "least is more than most"),
        ("rollout: [", "not YAML"),
    ],
)
def test_wrong_gates_are_told_by_their_key(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "gates.yaml").write_text(text)
    with pytest.raises(ConfigError, match=said) as error:
        load_gates(tmp_path / "gates.yaml")
    assert error.value.code == "config.gates"
