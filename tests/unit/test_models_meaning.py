"""The meaning text: what enters it, from which model's statements."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ecm.contracts.result import LabelStatement, TextStatement
from ecm.models.meaning import MAX_HYPERNYMS, MAX_OCR_CHARS, meaning_text


def leaf(text: str, confidence: float | None) -> LabelStatement:
    return LabelStatement(label=text, confidence=confidence, scheme="imagenet-1k")


def synonym(text: str, confidence: float) -> LabelStatement:
    return LabelStatement(label=text, confidence=confidence, scheme="imagenet-1k-synonym")


def kind(text: str, confidence: float) -> LabelStatement:
    return LabelStatement(label=text, confidence=confidence, scheme="wordnet-hypernym")


def test_competing_labels_with_their_synonyms_then_the_first_sure_kinds() -> None:
    other = LabelStatement(label="moggy", confidence=0.9, scheme="wordnet-hypernym-synonym")
    tags = (
        leaf("tabby", 0.5),
        synonym("tabby cat", 0.5),
        leaf("tiger cat", 0.2),
        leaf("lynx", 0.1),
        kind("cat", 0.8),
        other,
        kind("pet", 0.2),
        kind("animal", 0.9),
    )
    composed = TextStatement(text="a photo of a tabby", composed=True)
    assert (
        meaning_text(composed, tags, tags[:1], ())
        == "a photo of tabby, tabby cat, tiger cat, cat, animal"
    )


def test_a_real_caption_leads_and_unscored_tags_all_count() -> None:
    caption = TextStatement(text="Two cats sleep on a sofa")
    tags = tuple(LabelStatement(label=text) for text in ("sofa", "cat", "sofa"))
    ocr = (TextStatement(text="ACME"), TextStatement(text="sofas"))
    assert (
        meaning_text(caption, tags, (), ocr)
        == "Two cats sleep on a sofa. a photo of sofa, cat. ACME sofas"
    )


def test_classification_stands_in_for_missing_tags_and_silence_stays_silent() -> None:
    assert meaning_text(None, (), (leaf("tench", 0.9),), ()) == "a photo of tench"
    assert meaning_text(None, (), (), ()) == ""
    assert meaning_text(TextStatement(text="composed", composed=True), (), (), ()) == ""


labels = st.builds(
    LabelStatement,
    label=st.text("abc ", min_size=1, max_size=6),
    confidence=st.none() | st.floats(0, 1),
    scheme=st.sampled_from(["", "imagenet-1k", "wordnet-hypernym", "wordnet-hypernym-synonym"]),
)


@given(st.lists(labels, max_size=40), st.lists(labels, max_size=5), st.text(max_size=2000))
def test_the_text_is_bounded_whatever_was_said(
    tags: list[LabelStatement], classes: list[LabelStatement], ocr: str
) -> None:
    text = meaning_text(None, tags, classes, (TextStatement(text=ocr),))
    assert len(text) <= MAX_OCR_CHARS + len("a photo of . ") + (24 + MAX_HYPERNYMS) * 8
    assert text == meaning_text(None, tags, classes, (TextStatement(text=ocr),))
