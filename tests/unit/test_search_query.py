from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ecm.contracts.search import MAX_QUERY_CHARS, Axis, QueryType, SearchRequest
from ecm.errors import ConfigError, QueryError
from ecm.search.cursor import Cursor, query_digest
from ecm.search.profile import RankingProfile, load_ranking_profile
from ecm.search.query import read_question
from ecm.search.words import classify_text

RANKING = Path(__file__).parents[2] / "conf" / "ranking"
TEXT_AXES = (Axis.VV, Axis.MV, Axis.FTS)
ALL_AXES = (Axis.VV, Axis.X, Axis.MV, Axis.FTS)
IMAGE = base64.b64encode(b"not decoded here")
ASSET = "ab" * 32


@pytest.mark.parametrize(
    ("text", "kind", "axes"),
    [
        ("tiger", QueryType.KEYWORD, TEXT_AXES),
        ("great egret", QueryType.KEYWORD, TEXT_AXES),
        ("IMG_2041.jpg", QueryType.KEYWORD, TEXT_AXES),
        ("a man is riding a wave on a surfboard", QueryType.SEMANTIC, TEXT_AXES),
        ("someone who waits for the bus in the rain", QueryType.SEMANTIC, TEXT_AXES),
        ("red, symmetrical composition", QueryType.VISUAL, ALL_AXES),
        ("blue background, bright", QueryType.VISUAL, ALL_AXES),
        ("red sports car on the left", QueryType.MIXED, ALL_AXES),
    ],
)
def test_text_is_classified_by_its_words(text: str, kind: QueryType, axes: tuple[Axis]) -> None:
    question = read_question(SearchRequest(tenant_id="t", text=text))
    assert (question.query_type, question.axes) == (kind, axes)


@pytest.mark.parametrize(
    ("fields", "kind", "axes"),
    [
        ({"image": IMAGE}, QueryType.VISUAL, (Axis.VV, Axis.X, Axis.MV)),
        ({"asset_id": ASSET}, QueryType.VISUAL, (Axis.VV, Axis.X, Axis.MV)),
        ({"image": IMAGE, "text": "a dog"}, QueryType.MIXED, ALL_AXES),
        ({"text": "a dog", "axes": (Axis.FTS, Axis.X)}, None, (Axis.FTS,)),
    ],
)
def test_axes_follow_what_is_given_and_are_only_ever_narrowed(
    fields: dict[str, object], kind: QueryType | None, axes: tuple[Axis]
) -> None:
    question = read_question(SearchRequest.model_validate({"tenant_id": "t", **fields}))
    assert question.axes == axes
    assert kind is None or question.query_type is kind


@given(st.text(min_size=1, max_size=MAX_QUERY_CHARS))
def test_any_text_has_a_type_and_a_probability(text: str) -> None:
    kind, confidence = classify_text(text)
    assert kind in QueryType
    assert 0.25 <= confidence <= 1.0


def test_weights_move_towards_mixed_as_confidence_falls() -> None:
    profile = load_ranking_profile("default", RANKING)
    own, mixed = profile.weights.visual, profile.weights.mixed
    halfway = profile.text_weights(QueryType.VISUAL, 0.5)
    assert profile.text_weights(QueryType.VISUAL, 1.0) == {axis: own.of(axis) for axis in Axis}
    for axis in Axis:
        assert halfway[axis] == pytest.approx((own.of(axis) + mixed.of(axis)) / 2)


def test_the_digest_of_a_profile_changes_with_any_number() -> None:
    profile = load_ranking_profile("default", RANKING)
    tree = profile.model_dump()
    tree["weights"]["visual"]["x"] += 0.01
    assert RankingProfile.model_validate(tree).digest() != profile.digest()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("weights: [", "not YAML"),
        ("version: a\nk: 60", "weights"),
        ("surprise: 1", "surprise|version"),
    ],
)
def test_a_wrong_ranking_profile_is_one_clear_line(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "bad.yaml").write_text(content)
    with pytest.raises(ConfigError, match=says) as caught:
        load_ranking_profile("bad", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_ranking_profile_names_its_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_ranking_profile("nowhere", tmp_path)


def cursor(**changes: object) -> Cursor:
    fields = {
        "snapshot_id": "snap-1",
        "query": "0" * 64,
        "ranking": "f" * 16,
        "axes": (Axis.VV, Axis.FTS),
        "offset": 20,
    }
    return Cursor.model_validate({**fields, **changes})


@given(st.integers(1, 10_000_000), st.sets(st.sampled_from(list(Axis))).map(sorted))
def test_a_cursor_comes_back_as_it_was_sealed(offset: int, axes: list[Axis]) -> None:
    one = cursor(offset=offset, axes=tuple(axes))
    assert len(one.seal()) <= 512
    assert Cursor.opened(one.seal()) == one


@given(st.data())
def test_a_cursor_changed_in_any_place_is_refused(data: st.DataObject) -> None:
    sealed = cursor().seal()
    place = data.draw(st.integers(0, len(sealed) - 2))
    letter = data.draw(st.sampled_from("ABCxyz019-_").filter(lambda one: one != sealed[place]))
    with pytest.raises(QueryError) as caught:
        Cursor.opened(sealed[:place] + letter + sealed[place + 1 :])
    assert caught.value.code == "query.cursor"


@given(st.text(max_size=80))
def test_any_other_text_is_no_cursor(text: str) -> None:
    with pytest.raises(QueryError):
        Cursor.opened(text)


def test_page_size_is_not_part_of_the_question_but_the_tenant_is() -> None:
    one = SearchRequest(tenant_id="t", text="dog", limit=10)
    assert query_digest(one) == query_digest(one.model_copy(update={"limit": 50, "cursor": "c"}))
    assert query_digest(one) != query_digest(one.model_copy(update={"tenant_id": "u"}))
    assert query_digest(one) != query_digest(one.model_copy(update={"candidates": 10}))


@pytest.mark.parametrize("fields", [{}, {"text": "  "}, {"image": b""}])
def test_an_empty_question_is_refused_by_the_contract(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SearchRequest.model_validate({"tenant_id": "t", **fields})
