"""Ranking profiles: what is refused, what old ones mean, and rows of feature weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ecm.contracts.search import QueryType
from ecm.errors import ConfigError
from ecm.search.profile import RankingProfile, load_ranking_profile

RANKING = Path(__file__).parents[2] / "conf" / "ranking"
DEFAULT: dict[str, Any] = yaml.safe_load((RANKING / "default.yaml").read_text())
FIRST = {
    "version": "default-1",
    "k": 60,
    "weights": DEFAULT["weights"],
    "shown": DEFAULT["shown"],
    "text_boosts": {"caption": 1.0, "tags": 2.0, "classification": 1.0, "ocr": 1.0, "name": 0.5},
}
"""As a profile of the release before was."""


def changed(path: str, value: object) -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load(yaml.safe_dump(DEFAULT))
    place = tree
    *folders, last = path.split("/")
    for folder in folders:
        place = place[folder]
    place[last] = value
    return tree


def test_a_profile_without_reranking_loads_and_leaves_fusion_the_last_word() -> None:
    profile = RankingProfile.model_validate(FIRST)
    assert profile.rerank is None
    assert profile.fusion == "rrf"
    assert profile.boosts() == FIRST["text_boosts"]


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("fusion", "sum", "fusion"),
        ("rerank/weights/keyword/sim.zz", 1.0, "sim.zz"),
        ("rerank/weights/keyword/rrf", -1.0, "rrf"),
        ("rerank/weights/keyword", {}, "keyword"),
        ("rerank/weights/visual", {"rrf": 0.0}, "visual"),
        ("rerank/penalties/rudeness", 1.0, "rudeness"),
        ("rerank/penalties/spam", float("nan"), "spam"),
        ("rerank/depth", {"least": 100, "most": 99}, "least is above most"),
        ("rerank/depth", {"least": 0, "most": 99}, "least"),
        ("rerank/depths", {}, "depths"),
        ("rerank/ceiling_ms", -1, "ceiling_ms"),
        ("cutoff/share", 1.5, "share"),
        ("cutoff/spread", 0, "spread"),
        ("text_boosts/title", 1.0, "title"),
    ],
)
def test_wrong_numbers_and_unknown_names_are_refused(
    tmp_path: Path, path: str, value: object, says: str
) -> None:
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(changed(path, value)))
    with pytest.raises(ConfigError, match=says) as caught:
        load_ranking_profile("bad", tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("fusion", "dbsf"),
        ("cutoff/gate", 1.25),
        ("rerank/depth/least", 79),
        ("rerank/weights/alone/sim.mv", 0.71),
        ("rerank/penalties/spam", 0.31),
    ],
)
def test_the_digest_changes_with_every_number(path: str, value: object) -> None:
    other = RankingProfile.model_validate(changed(path, value))
    assert other.digest() != RankingProfile.model_validate(DEFAULT).digest()


@given(st.sampled_from(list(QueryType)), st.floats(0, 1))
def test_rows_move_towards_mixed_as_confidence_falls(kind: QueryType, confidence: float) -> None:
    profile = RankingProfile.model_validate(DEFAULT)
    assert profile.rerank is not None
    table = profile.rerank.weights
    row = table.row(kind, confidence)
    own, mixed = table.row(kind, 1.0), table.row(QueryType.MIXED, 1.0)
    for name, weight in row.items():
        assert weight == pytest.approx(confidence * own[name] + (1 - confidence) * mixed[name])


@given(st.floats(0, 1))
def test_rows_move_towards_look_as_words_are_about_it(look: float) -> None:
    profile = RankingProfile.model_validate(DEFAULT)
    assert profile.rerank is not None
    table = profile.rerank.weights
    row = table.row(QueryType.SEMANTIC, 1.0, look)
    plain, visual = table.row(QueryType.SEMANTIC, 1.0), table.row(QueryType.VISUAL, 1.0)
    for name, weight in row.items():
        assert weight == pytest.approx((1 - look) * plain[name] + look * visual[name])


def test_what_is_shown_has_rows_of_its_own() -> None:
    profile = RankingProfile.model_validate(DEFAULT)
    assert profile.rerank is not None
    table = profile.rerank.weights
    alone, with_text = table.shown_row(""), table.shown_row("a dog")
    assert {n: w for n, w in alone.items() if w} == DEFAULT["rerank"]["weights"]["alone"]
    assert {n: w for n, w in with_text.items() if w} == DEFAULT["rerank"]["weights"]["with_text"]
