"""Weights predicted per query: bounds, what is refused, and digests that stay what they were."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ecm.errors import ConfigError
from ecm.search.per_query import PerQuery
from ecm.search.profile import RankingProfile, load_ranking_profile
from ecm.search.query_features import QUERY_FEATURES

RANKING = Path(__file__).parents[2] / "conf" / "ranking"
DEFAULT: dict[str, Any] = yaml.safe_load((RANKING / "default.yaml").read_text())
BEFORE = "9431d08ecf3a34bfdb3f46305dbc472ec0d924a4b1b9a875ea8bbddcb40e39a4"
"""Digest of default-2 in the release that knew no weights per query."""
SECTION: dict[str, Any] = {
    "most": 4.0,
    "features": {
        "words": {"mean": 2.0, "scale": 0.5, "low": 0.0, "high": 4.0},
        "top.fts": {"mean": 5.0, "scale": 2.0, "low": 0.0, "high": 30.0},
    },
    "factors": {
        "vv": {"bias": 0.5, "of": {"words": 1.0}},
        "sim.mv": {"bias": 0.0, "of": {"top.fts": -2.0, "words": 0.1}},
    },
}
LEARNED: dict[str, Any] = {
    "kind": "per_query",
    "tenant_id": "default",
    "query_set": {"name": "gold", "version": 1, "digest": "1" * 64},
    "label_set": {"name": "gold", "version": 1, "digest": "2" * 64},
    "queries": 100,
    "snapshot_id": "s",
    "fingerprints": {"vv": "f"},
    "base": "default-2",
    "base_digest": BEFORE,
    "code": "0.1.0+abc",
    "seed": 0,
    "folds": 5,
    "regularisers": {"per_type": None},
    "cv_ndcg_10": {"per_query": 0.5},
    "command": "ecm evaluate learn",
}


def with_section(path: str = "", value: object = None) -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load(yaml.safe_dump(DEFAULT | {"per_query": SECTION}))
    place = tree["per_query"]
    *folders, last = path.split("/")
    for folder in folders:
        place = place[folder]
    if path:
        place[last] = value
    return tree


@given(
    st.dictionaries(st.sampled_from(QUERY_FEATURES), st.floats(-1e300, 1e300)),
    st.floats(1.01, 16.0),
)
def test_factors_are_bounded_whatever_a_query_is_like(told: dict[str, float], most: float) -> None:
    found = PerQuery.model_validate(SECTION | {"most": most}).factors_of(told)
    assert found.keys() == {"vv", "sim.mv"}
    for factor in found.values():
        assert 1 / most * (1 - 1e-9) <= factor <= most * (1 + 1e-9)


def test_what_is_not_there_moves_nothing() -> None:
    own = PerQuery.model_validate(SECTION)
    at_mean = own.factors_of({"words": 2.0, "top.fts": 5.0})
    assert own.factors_of({}) == at_mean
    assert at_mean["sim.mv"] == 1.0
    assert at_mean["vv"] == pytest.approx(4 ** math.tanh(0.5 / math.log(4)))


def test_a_query_unlike_those_learned_from_is_not_known() -> None:
    own = PerQuery.model_validate(SECTION)
    assert own.knows({})
    assert own.knows({"words": 4.0, "look": 99.0})
    assert not own.knows({"words": 4.001})
    assert not own.knows({"words": math.nan})


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("features/colour", {"mean": 0, "scale": 1, "low": 0, "high": 1}, "colour"),
        ("features/words/scale", 0.0, "scale"),
        ("features/words/mean", float("nan"), "mean"),
        ("features/words/low", 5.0, "low is above high"),
        ("factors/zz", {"bias": 1.0}, "zz"),
        ("factors/vv/of/found.fts", 1.0, "found.fts has no scaling"),
        ("factors/vv/of/words", float("inf"), "words"),
        ("factors/vv/bias", 101.0, "bias"),
        ("most", 1.0, "most"),
        ("most", 17.0, "most"),
        ("least", 1.0, "least"),
    ],
)
def test_wrong_numbers_and_unknown_features_are_refused(
    tmp_path: Path, path: str, value: object, says: str
) -> None:
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(with_section(path, value)))
    with pytest.raises(ConfigError, match=says):
        load_ranking_profile("bad", tmp_path)


def test_digests_of_old_profiles_are_what_they_were() -> None:
    assert RankingProfile.model_validate(DEFAULT).digest() == BEFORE


def test_factors_are_part_of_the_digest_and_provenance_is_not() -> None:
    own = RankingProfile.model_validate(with_section())
    assert own.digest() != BEFORE
    other = RankingProfile.model_validate(with_section("factors/vv/bias", 0.51))
    assert other.digest() != own.digest()
    known = with_section() | {"learned": LEARNED | {"numbers": own.digest()}}
    assert RankingProfile.model_validate(known).digest() == own.digest()


def test_numbers_changed_by_hand_do_not_pass_for_learned_ones() -> None:
    learned = {"learned": LEARNED | {"numbers": BEFORE}}
    assert RankingProfile.model_validate(DEFAULT | learned).learned is not None
    with pytest.raises(ValidationError, match="not the numbers that were learned"):
        RankingProfile.model_validate(DEFAULT | learned | {"k": 61})
