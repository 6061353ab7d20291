"""Reasons a person reads: they must be the true ones."""

from __future__ import annotations

import pytest

from ecm.contracts.search import Axis, AxisScore, Contribution
from ecm.evidence.snapshot_row import SnapshotRow, VectorEvidence
from ecm.evidence.statement import Statement
from ecm.search.explain import Asked, evidence_of, matching, sentence
from ecm.search.stems import stems


def said(kind: str, text: str, confidence: float | None = None, ordinal: int = 0) -> Statement:
    name = f"{kind}-{text}"
    return Statement(name, kind, ordinal, "run-1", "a" * 64, confidence, text, "", False)


STATEMENTS = (
    said("caption", "a photo of a goose on grass", 0.5),
    said("tag", "goose", 0.5),
    said("tag", "domestic dogs", 0.3, 1),
    said("tag", "dog", 0.4, 2),
)
ROW = SnapshotRow(
    tenant_id="t",
    asset_id="b" * 64,
    uris=("file:///holiday_01.jpg",),
    name="holiday 01",
    width=4,
    height=3,
    format="jpeg",
    caption=STATEMENTS[0].text,
    caption_composed=True,
    tags=("goose", "domestic dogs", "dog"),
    classification=(),
    ocr=None,
    statements=STATEMENTS,
    vectors={Axis.VV: VectorEvidence("e-vv", "run-2", "c" * 64)},
)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("a dog of mine", ["dog", "domestic dogs"]),
        ("geese on the lawn", []),
        ("DOGS!", ["dog", "domestic dogs"]),
        ("a photo with grass", ["a photo of a goose on grass"]),
    ],
)
def test_words_of_grammar_are_no_reason_and_plurals_are(text: str, first: list[str]) -> None:
    assert [statement.text for statement in matching(STATEMENTS, stems(text))] == first


AXES = {Axis.FTS: AxisScore(rank=2, score=9.0), Axis.VV: AxisScore(rank=11, score=0.1)}
ASKED = Asked("dog", shown=False)
SUMMANDS = (
    Contribution(feature="rrf.vv", value=0.03),
    Contribution(feature="rrf.fts", value=0.02),
    Contribution(feature="bm25.tags", value=0.02),
)


def test_evidence_starts_with_what_matched_and_never_exceeds_its_limit() -> None:
    axes = {Axis.VV: AxisScore(rank=1, score=0.5)}
    matches = matching(STATEMENTS, stems("dog"))
    for limit in range(1, 8):
        rows = evidence_of(ROW, axes, matches, limit)
        assert len(rows) == min(limit, 5)
    assert [row.text for row in rows[:2]] == ["dog", "domestic dogs"]
    assert (rows[-1].kind, rows[-1].run_id) == ("vector.vv", "run-2")


def test_the_sentence_gives_the_strongest_reason_first() -> None:
    matches = matching(STATEMENTS, stems("dog"))
    assert sentence(ROW, SUMMANDS, AXES, ASKED, matches, None) == (
        "Its tag says “dog” with 40% (2nd) and it looks like “dog” (11th)."
    )
    named = sentence(ROW, SUMMANDS, AXES, Asked("holiday", shown=True), (), None)
    assert named.startswith("Its file name has the words (2nd) and it looks like the image shown")


def test_the_sentence_says_when_it_was_said_and_what_speaks_against() -> None:
    matches = matching(STATEMENTS, stems("dog"))
    against = Contribution(feature="penalty.unwanted", value=-0.5, raw=1.0)
    told = sentence(ROW, (*SUMMANDS, against), AXES, ASKED, matches, 1764028800.0)
    assert "with 40% (2nd, said 2025-11-25)" in told
    assert told.endswith("though it seems to be what is not wanted.")
    mild = Contribution(feature="penalty.unwanted", value=-0.1, raw=0.1)
    assert "not wanted" not in sentence(ROW, (*SUMMANDS, mild), AXES, ASKED, matches, None)


def test_what_added_nothing_is_no_reason() -> None:
    none = (Contribution(feature="penalty.spam", value=-1.0),)
    assert sentence(ROW, none, AXES, ASKED, (), None) == ""
