"""The question that a request asks: its type and axes, and what is embedded and searched for."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecm.contracts.search import MAX_QUERY_CHARS, Axis, QueryType, SearchRequest
from ecm.evidence.generation import name_words
from ecm.search.query import MAX_PHRASES, Question, read_question

IMAGE = base64.b64encode(b"not decoded here")
ASSET = "ab" * 32


def asked(text: str | None = None, **fields: object) -> Question:
    return read_question(SearchRequest.model_validate({"tenant_id": "t", "text": text, **fields}))


def test_a_question_in_full() -> None:
    question = asked('a red car on the left without people, "no entry" sign')
    assert question.wanted == "a red car on the left, no entry sign"
    assert question.unwanted == ("people",)
    assert question.text is not None
    assert question.text.phrases == ("no entry",)
    assert question.text.without == ("people",)
    assert "left" in question.text.words
    assert "people" not in question.text.words
    assert question.axes == (Axis.VV, Axis.X, Axis.MV, Axis.FTS)
    understood = question.understood()
    assert understood.phrases == ("no entry",)
    assert [(one.said, one.place) for one in understood.layout] == [("red car on the left", "left")]


@pytest.mark.parametrize(
    ("text", "phrase"),
    [("IMG_2041.jpg", "IMG 2041"), ("DSC-0042", "DSC 0042"), ("find P1010023 now", "P 1010023")],
)
def test_a_file_name_is_looked_for_as_the_index_has_it(text: str, phrase: str) -> None:
    question = asked(text)
    assert question.query_type is QueryType.KEYWORD
    assert question.confidence >= 0.5
    assert question.text is not None
    assert question.text.phrases == (phrase,) == (name_words([question.names[0]]),)
    assert set(phrase.split()) <= set(question.text.words)
    assert question.text.fuzziness == 0


def test_of_several_file_names_each_is_looked_for_but_none_must_be_there() -> None:
    question = asked("IMG_2041.jpg or IMG_2042.jpg")
    assert question.names == ("IMG_2041.jpg", "IMG_2042.jpg")
    assert question.text is not None
    assert question.text.phrases == ()
    assert {"IMG", "2041", "2042"} <= set(question.text.words)


def test_phrases_are_few_and_of_words_that_the_index_has() -> None:
    text = asked('dog "..." "the" "on a beach"').text
    assert text is not None
    assert text.phrases == ("on a beach",)
    many = asked(" ".join(f'"a{number} b"' for number in range(200))).text
    assert many is not None
    assert len(many.phrases) == MAX_PHRASES
    assert "a199" in many.words


@pytest.mark.parametrize(
    ("text", "fuzziness"),
    [("tiger", 1), ("Straße", 1), ("cat", 0), ("great egret", 0), ("F16XL", 0), ('"tiger"', 0)],
)
def test_only_a_lone_long_word_may_be_misspelt(text: str, fuzziness: int) -> None:
    question = asked(text)
    assert question.text is not None
    assert question.text.fuzziness == fuzziness


@pytest.mark.parametrize(
    ("fields", "kind", "axes"),
    [
        ({"examples": [{"image": IMAGE}]}, QueryType.VISUAL, "vv x mv"),
        ({"examples": [{"asset_id": ASSET, "weight": 0.5}]}, QueryType.VISUAL, "vv x mv"),
        ({"text": "dog", "examples": [{"image": IMAGE}]}, QueryType.MIXED, "vv x mv fts"),
        ({"text": "dog", "examples": [{"image": IMAGE, "weight": -1}]}, None, "vv mv fts"),
        ({"text": "without people", "image": IMAGE}, QueryType.VISUAL, "vv x mv"),
        ({"text": "🐕"}, None, "vv mv"),
        ({"text": "red dog", "axes": ["x", "fts"]}, None, "x fts"),
    ],
)
def test_axes_are_those_that_can_be_asked(
    fields: dict[str, object], kind: QueryType | None, axes: str
) -> None:
    question = asked(**fields)
    assert " ".join(question.axes) == axes
    assert kind is None or (question.query_type, question.confidence) == (kind, 1.0)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("red on the left, blue on the right", QueryType.VISUAL),
        ("symmetrical", QueryType.VISUAL),
        ("lots of sky", QueryType.VISUAL),
        ("orange", QueryType.MIXED),
        ("portrait", QueryType.MIXED),
        ("red car on the left", QueryType.MIXED),
        ("a man in a red jacket skis down a slope", QueryType.SEMANTIC),
    ],
)
def test_words_of_look_alone_ask_for_look(text: str, kind: QueryType) -> None:
    question = asked(text)
    assert question.query_type is kind
    assert Axis.X in question.axes


def test_only_what_is_not_wanted_is_no_question() -> None:
    question = asked("no people")
    assert (question.wanted, question.axes, question.text) == ("", (), None)
    assert question.unwanted == ("people",)


def test_look_that_is_not_wanted_is_not_looked_for() -> None:
    assert asked("car not red").layout is None
    layout = asked("blue car without red on the left").layout
    assert layout is not None
    assert [one.colour for one in layout.constraints] == ["blue"]


@given(st.text(min_size=1, max_size=MAX_QUERY_CHARS).filter(lambda text: bool(text.strip())))
def test_any_text_is_a_question_that_can_be_told(text: str) -> None:
    question = asked(text)
    assert 0 <= question.understood().confidence <= 1
    assert (Axis.FTS in question.axes) == (question.text is not None)
    assert (Axis.X in question.axes) == (question.layout is not None)
    assert bool(question.axes) == bool(question.wanted)
