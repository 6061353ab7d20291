"""Laws of labelling: probabilities in, honest statements out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ecm.models
from ecm.errors import ManifestError
from ecm.models.labelling import (
    CLASS_SCHEME,
    CLASS_SYNONYM_SCHEME,
    HYPERNYM_SCHEME,
    LabellingParams,
    label,
    softmax,
)
from ecm.models.vocabulary import Vocabulary, load_vocabulary

TABLES = Path(ecm.models.__file__).parent / "imagenet"
VOCABULARY = load_vocabulary(TABLES / "classes.tsv", TABLES / "ancestors.tsv")
PARAMS = LabellingParams()
TABBY, TIGER_CAT, EGYPTIAN, ESPRESSO = 281, 282, 285, 967


def spread(shares: dict[int, float]) -> npt.NDArray[np.float64]:
    """Probabilities with the given shares; the rest is thinly spread over all other classes."""
    rest = (1.0 - sum(shares.values())) / (1000 - len(shares))
    probabilities = np.full(1000, rest)
    for place, share in shares.items():
        probabilities[place] = share
    return probabilities


def test_vocabulary_is_the_imagenet_tree() -> None:
    below = {
        ancestor.lemmas[0]: int(members.sum())
        for ancestor, members in zip(VOCABULARY.ancestors, VOCABULARY.members, strict=True)
    }
    assert [below[name] for name in ("dog", "bird", "animal", "canine")] == [118, 59, 398, 130]
    assert "entity" not in below
    assert VOCABULARY.classes[TIGER_CAT].lemmas == ("tiger cat",)
    assert VOCABULARY.classes[TABBY].gloss.startswith("a cat with a grey or tawny coat")


def test_a_damaged_table_is_refused(tmp_path: Path) -> None:
    short = tmp_path / "classes.tsv"
    short.write_text("\n".join((TABLES / "classes.tsv").read_text().splitlines()[:500]))
    with pytest.raises(ManifestError, match="classes 0 to 999"):
        load_vocabulary(short, TABLES / "ancestors.tsv")
    with pytest.raises(ManifestError, match="tab-separated columns"):
        load_vocabulary(TABLES / "names.tsv", TABLES / "ancestors.tsv")
    lacking = tmp_path / "ancestors.tsv"
    rows = (TABLES / "ancestors.tsv").read_text().splitlines()
    lacking.write_text("\n".join(row for row in rows if "dog|domestic dog" not in row))
    with pytest.raises(ManifestError, match="lacks n02084071, which is above"):
        load_vocabulary(TABLES / "classes.tsv", lacking)


def test_three_cats_are_surely_a_cat() -> None:
    said = label(VOCABULARY, spread({TIGER_CAT: 0.4, EGYPTIAN: 0.35, TABBY: 0.2}), PARAMS)
    assert [s.label for s in said.classification] == ["tiger cat", "Egyptian cat", "tabby"]
    tags = {s.label: s for s in said.tags}
    assert tags["cat"].confidence == pytest.approx(0.95, abs=0.01)
    assert tags["cat"].scheme == HYPERNYM_SCHEME
    assert tags["tabby cat"].scheme == CLASS_SYNONYM_SCHEME
    assert tags["tabby cat"].confidence == tags["tabby"].confidence
    assert said.caption is not None
    assert said.caption.text == "a photo of a cat, perhaps a tiger cat"
    assert said.caption.composed
    assert said.caption.confidence == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("shares", "text"),
    [
        ({ESPRESSO: 0.9}, "a photo of an espresso, a kind of beverage"),
        ({ESPRESSO: 0.2, TABBY: 0.1}, "a photo that may show an espresso"),
        ({ESPRESSO: 0.05, TABBY: 0.04}, None),
    ],
)
def test_captions_say_no_more_than_is_known(shares: dict[int, float], text: str | None) -> None:
    caption = label(VOCABULARY, spread(shares), PARAMS).caption
    assert (caption.text if caption else None) == text


@st.composite
def probability_rows(draw: st.DrawFn) -> npt.NDArray[np.float64]:
    seed = draw(st.integers(0, 2**32 - 1))
    sharpness = draw(st.sampled_from([0.1, 1.0, 4.0, 50.0]))
    logits = np.random.default_rng(seed).standard_normal((1, 1000)) * sharpness
    return softmax(logits, draw(st.sampled_from([0.5, 1.0, 2.0])))[0]


@settings(max_examples=40, deadline=None)
@given(probability_rows())
def test_statements_are_unique_bounded_and_ordered(row: npt.NDArray[np.float64]) -> None:
    said = label(VOCABULARY, row, PARAMS)
    assert len({s.label for s in said.tags}) == len(said.tags) <= 256
    assert all(0.0 <= (s.confidence or 0.0) <= 1.0 for s in said.tags)
    surest_first = [s.confidence or 0.0 for s in said.classification]
    assert surest_first == sorted(surest_first, reverse=True)
    assert len(said.classification) <= PARAMS.max_classes
    assert {s.label for s in said.classification} <= {s.label for s in said.tags}
    assert all(s.scheme == CLASS_SCHEME for s in said.classification)
    if said.caption is not None:
        assert said.caption.confidence == pytest.approx(float(row.max()))


@settings(max_examples=40, deadline=None)
@given(probability_rows())
def test_a_kind_is_never_less_sure_than_what_it_covers(row: npt.NDArray[np.float64]) -> None:
    sure = {s.label: s.confidence or 0.0 for s in label(VOCABULARY, row, PARAMS).tags}
    for name, place in (("dog", 207), ("beverage", ESPRESSO), ("cat", TABBY)):
        leaf = VOCABULARY.classes[place].lemmas[0]
        if leaf in sure and sure[leaf] >= PARAMS.min_hypernym:
            assert sure[name] >= sure[leaf] - 1e-12


def test_thresholds_are_those_of_the_parameters() -> None:
    row = spread({TABBY: 0.5, EGYPTIAN: 0.3})
    few = LabellingParams(max_classes=1, min_hypernym=0.9)
    said = label(VOCABULARY, row, few)
    assert [s.label for s in said.classification] == ["tabby"]
    assert all(s.scheme != HYPERNYM_SCHEME or (s.confidence or 0) >= 0.9 for s in said.tags)


def test_vocabulary_orders_usual_words_first() -> None:
    names = [ancestor.lemmas[0] for ancestor in _above(VOCABULARY, TABBY)]
    assert names.index("cat") < names.index("animal") < names.index("feline")


def _above(vocabulary: Vocabulary, place: int) -> list[object]:
    return [
        ancestor
        for ancestor, members in zip(vocabulary.ancestors, vocabulary.members, strict=True)
        if members[place]
    ]
