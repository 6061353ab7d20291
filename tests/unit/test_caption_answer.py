"""What a captioner's answer is worth: any text gets a verdict, usable ones say what they should."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.contracts.result import LabelStatement, TextStatement
from ecm.models.caption_answer import (
    AnswerLimits,
    Verdict,
    answer_schema,
    is_refusal,
    read_answer,
    repeats,
)

LIMITS = AnswerLimits()
WHOLE = {
    "caption": "A small brown dog runs across a wide green field.",
    "tags": ["dog", "field", "Dog", " running "],
    "classification": {
        "image_type": "photo",
        "scene": "Countryside",
        "style": "wide shot",
        "colours": ["green", "brown", "green"],
    },
    "visible_text": ["KEEP OFF", ""],
}
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["caption", "tags", "classification", "visible_text", "colours", "scene"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)
REASONS = st.sampled_from(["stop", "length", "abort", ""])


def check_bounds(text: str, reason: str) -> None:
    """What is read can be stated as it is, whatever it was read from."""
    reading = read_answer(text, reason, LIMITS)
    said = reading.said
    if said.caption:
        TextStatement(text=said.caption)
    assert len(said.caption) <= LIMITS.caption_chars
    assert len(said.tag_statements()) <= LIMITS.tags
    assert len({tag.lower() for tag in said.tags}) == len(said.tags)
    assert all(isinstance(label, LabelStatement) for label in said.labels())
    assert len(said.line_statements()) <= LIMITS.lines
    if reading.verdict is Verdict.USABLE:
        assert said.caption


@settings(deadline=None)
@given(raw=st.binary(max_size=200), reason=REASONS)
def test_any_bytes_get_a_verdict(raw: bytes, reason: str) -> None:
    check_bounds(raw.decode("utf-8", "surrogateescape"), reason)


@settings(deadline=None)
@given(raw=JSON, reason=REASONS)
def test_any_json_gets_a_verdict(raw: object, reason: str) -> None:
    check_bounds(json.dumps(raw), reason)


@settings(deadline=None)
@given(cut=st.integers(0, len(json.dumps(WHOLE))))
def test_an_answer_cut_anywhere_says_nothing_that_the_whole_does_not(cut: int) -> None:
    text = json.dumps(WHOLE)
    whole = read_answer(text, "stop", LIMITS).said
    reading = read_answer(text[:cut], "length", LIMITS)
    assert reading.said.caption in ("", whole.caption)
    assert reading.said.tags in ((), whole.tags)
    assert reading.said.classification in ((), whole.classification)
    if cut == 0:
        assert reading.verdict is Verdict.EMPTY
    elif cut < len(text):
        assert reading.verdict is Verdict.TRUNCATED


def test_a_whole_answer_is_stated_under_its_schemes_without_duplicates() -> None:
    reading = read_answer(json.dumps(WHOLE), "stop", LIMITS)
    assert reading.verdict is Verdict.USABLE
    said = reading.said
    assert said.caption == WHOLE["caption"]
    assert [(t.label, t.scheme) for t in said.tag_statements()] == [
        ("dog", "vlm"),
        ("field", "vlm"),
        ("running", "vlm"),
    ]
    assert [(c.scheme, c.label) for c in said.labels()] == [
        ("image_type", "photo"),
        ("scene", "countryside"),
        ("style", "wide shot"),
        ("colour", "green"),
        ("colour", "brown"),
    ]
    assert [line.text for line in said.line_statements()] == ["KEEP OFF"]


@pytest.mark.parametrize(
    ("text", "reason", "verdict"),
    [
        ("", "stop", Verdict.EMPTY),
        (" \n", "length", Verdict.EMPTY),
        ('{"caption": " "}', "stop", Verdict.EMPTY),
        ('{"caption": "A dog', "length", Verdict.TRUNCATED),
        ('{"caption": "A dog', "stop", Verdict.INVALID),
        ('{"caption": 7}', "stop", Verdict.INVALID),
        ("[1, 2]", "stop", Verdict.INVALID),
        ("[" * 100_000, "stop", Verdict.INVALID),
        ("NaN", "stop", Verdict.INVALID),
        ("I'm sorry, but I can't help with that.", "stop", Verdict.REFUSAL),
        ('{"caption": "I cannot describe this person."}', "stop", Verdict.REFUSAL),
        (json.dumps({"caption": "a cat " * 20}), "stop", Verdict.REPEATING),
        ('{"caption": "A\tdog\x01 runs"}', "stop", Verdict.USABLE),
    ],
)
def test_verdicts(text: str, reason: str, verdict: Verdict) -> None:
    assert read_answer(text, reason, LIMITS).verdict is verdict


@given(
    unit=st.text(st.characters(categories=["L", "Zs"]), min_size=2, max_size=30),
    times=st.integers(5, 12),
)
def test_whatever_is_said_over_and_over_repeats(unit: str, times: int) -> None:
    text = " ".join((unit * times).split())
    if len(text) >= 24:
        assert repeats(text)


@pytest.mark.parametrize(
    "text",
    [
        "A man in a red jacket stands on a snowy mountain and looks at the valley below him.",
        "Two dogs, one black and one white, play with a ball on the beach near the water.",
        "一只棕色的小狗在宽阔的绿色田野上奔跑，远处有几座被雪覆盖的山峰和一间小木屋。",
        "Black and white photo of a cat.",
        "",
    ],
)
def test_plain_captions_do_not(text: str) -> None:
    assert not repeats(text)


@pytest.mark.parametrize(
    ("text", "refuses"),
    [
        ("I’m unable to identify people in images.", True),
        ("Sorry, I can't do that.", True),
        ("As an AI, I do not see pictures.", True),
        ("I apologize, but there is nothing to see.", True),
        ("A sign that says sorry, we are closed.", False),
        ("Sorry sign on a door.", False),
        ("Ice floats on a lake.", False),
    ],
)
def test_refusals(text: str, refuses: bool) -> None:
    assert is_refusal(text) is refuses


def test_the_schema_asks_for_every_part_and_bounds_every_string() -> None:
    schema = json.loads(answer_schema(LIMITS))
    assert schema["required"] == ["caption", "tags", "classification", "visible_text"]
    assert schema["additionalProperties"] is False
    strings = [schema["properties"]["caption"], schema["properties"]["tags"]["items"]]
    for string in strings:
        assert "pattern" in string
        assert "maxLength" not in string
