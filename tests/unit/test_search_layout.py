"""What words say of look, and whether pictures that look so come first."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.contracts.filters import Colour, Orientation
from ecm.contracts.search import MAX_QUERY_CHARS, LayoutConstraint
from ecm.errors import ContractError
from ecm.images.structure import STRUCTURE_DIM, structure_descriptor
from ecm.models.base import normalised
from ecm.search.layout import MAX_CONSTRAINTS, Layout, read_layout
from ecm.search.looks import PLACES, PROPERTIES
from tests.compositions import Composition, compositions, look_questions


def understood(text: str) -> list[str]:
    layout = read_layout(text)
    found = layout.constraints if layout is not None else ()
    return [
        " ".join(str(part) for part in (c.colour, c.place, c.orientation, c.property) if part)
        for c in found
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("red on the left", ["red left"]),
        ("a red car on the left, blue background", ["red left", "blue background"]),
        ("blue sky at the top", ["blue top"]),
        ("green bottom", ["green bottom"]),
        ("left red right blue", ["red left", "blue right"]),
        ("top: blue, bottom: green", ["blue top", "green bottom"]),
        ("the left side is turquoise", ["cyan left"]),
        ("red and white on the right half", ["red right", "white right"]),
        ("yellow circle in the upper right corner", ["yellow top right"]),
        ("dark background", ["black background"]),
        ("mostly blue", ["blue mostly"]),
        ("red and white", ["red", "white"]),
        ("portrait orientation", ["portrait"]),
        ("vertical photo of a tower", ["portrait"]),
        ("panorama of a city", ["panorama"]),
        ("red, square", ["red", "square"]),
        ("symmetrical, high-key", ["symmetrical", "high-key"]),
        ("lots of sky", ["sky"]),
        ("centred subject, blurry", ["centred", "blurred"]),
        ("black and white photo of a cat", ["monochrome"]),
        ("warm colours, low contrast", ["warm", "low contrast"]),
        ("minimalist with diagonal lines", ["minimalist", "diagonal"]),
        ("bright, red", ["bright", "red"]),
        # what means something else, or too little
        ("a dog", []),
        ("portrait of a woman", []),
        ("mountain landscape", []),
        ("times square", []),
        ("golden retriever", []),
        ("dark street at night", []),
        ("a blurred background", []),
        ("black and white cat", ["black", "white"]),
        ("woman in a red top", ["red"]),
        ("a red sign on top of a pole", ["red"]),
        ("a white plate on the right side of the table", ["white"]),
        ("a brown bear with grass in the background", ["brown"]),
    ],
)
def test_words_of_look_are_understood(text: str, said: list[str]) -> None:
    assert understood(text) == said


@pytest.mark.parametrize(
    ("weaker", "stronger"),
    [
        ("red car", "red"),
        ("red car", "red car on the left"),
        ("landscape", "landscape format"),
        ("portrait", "portrait, red"),
        ("orange", "mostly orange"),
        (
            "a man in a blue shirt stands by the old wooden gate with a dog and a red ball on the "
            "left",
            "red ball on the left",
        ),
    ],
)
def test_passing_and_ambiguous_words_count_less(weaker: str, stronger: str) -> None:
    less, more = read_layout(weaker), read_layout(stronger)
    assert less is not None
    assert more is not None
    assert 0 < less.strength < more.strength <= 1


@given(
    st.one_of(
        st.text(max_size=MAX_QUERY_CHARS),
        st.lists(
            st.sampled_from(
                ["red", "on", "the", "left", "top", "of", "blue", ",", "sky", "portrait", "and",
                 "black", "white", "mostly", "background", "dark", "symmetrical", "dog", "İ"]
            ),
            max_size=60,
        ).map(" ".join),
    )
)  # fmt: skip
@settings(deadline=None)
def test_any_text_is_read_and_what_was_understood_can_be_scored(text: str) -> None:
    layout = read_layout(text)
    if layout is None:
        return
    assert len(layout.constraints) <= MAX_CONSTRAINTS
    assert all(one.said in text for one in layout.constraints)
    assert np.linalg.norm(layout.vector()) == pytest.approx(1, abs=1e-5)
    scores = layout.scores(noise(3))
    assert scores.shape == (3,)
    assert ((scores >= 0) & (scores <= 1)).all()


def noise(count: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    pictures = [rng.integers(0, 255, (30, 40, 3), np.uint8) for _ in range(count)]
    return normalised(np.stack([structure_descriptor(one, 40, 30) for one in pictures])).vectors


CONSTRAINTS = st.builds(
    LayoutConstraint,
    said=st.just("so"),
    colour=st.none() | st.sampled_from(list(Colour)),
    place=st.none() | st.sampled_from([*PLACES, "background"]),
    orientation=st.none() | st.sampled_from(list(Orientation)),
    property=st.none() | st.sampled_from(list(PROPERTIES)),
)


@given(
    st.lists(CONSTRAINTS, min_size=1, max_size=5),
    st.lists(st.floats(0.05, 1), min_size=5, max_size=5),
)
@settings(max_examples=60, deadline=None)
def test_every_layout_scores_any_row_between_0_and_1_alone_as_together(
    constraints: list[LayoutConstraint], weights: list[float]
) -> None:
    layout = Layout(tuple(constraints), tuple(weights[: len(constraints)]))
    rng = np.random.default_rng(2)
    rows = np.concatenate([noise(2), normalised(rng.normal(size=(2, STRUCTURE_DIM))).vectors])
    scores = layout.scores(rows)
    assert ((scores >= 0) & (scores <= 1)).all()
    apart = np.concatenate([layout.scores(row[None]) for row in rows])
    assert np.abs(scores - apart).max() < 1e-4
    assert np.linalg.norm(layout.vector()) == pytest.approx(1, abs=1e-5)
    assert layout.scores(rows[:0]).shape == (0,)


@pytest.mark.parametrize(
    "made",
    [
        lambda: Layout(()),
        lambda: Layout((LayoutConstraint(said="x"),), (1.0, 1.0)),
        lambda: Layout((LayoutConstraint(said="x"),), (0.0,)),
        lambda: Layout((LayoutConstraint(said="x", place="nowhere"),)).scores(noise(1)),
        lambda: Layout((LayoutConstraint(said="x", property="nice"),)).scores(noise(1)),
        lambda: Layout((LayoutConstraint(said="x"),)).scores(noise(1)[:, 1:]),
    ],
)
def test_a_layout_that_means_nothing_is_refused(made: object) -> None:
    assert callable(made)
    with pytest.raises(ContractError):
        made()


@pytest.fixture(scope="module")
def pictures() -> list[Composition]:
    return compositions(seed=11, each=2)


@pytest.fixture(scope="module")
def descriptors(pictures: list[Composition]) -> np.ndarray:
    raw = [structure_descriptor(p.pixels, p.pixels.shape[1], p.pixels.shape[0]) for p in pictures]
    return normalised(np.stack(raw)).vectors


def ndcg(relevant: Sequence[bool], cutoff: int = 10) -> float:
    """Of answers in the order found; Järvelin and Kekäläinen 2002."""
    gains = [1 / math.log2(place + 2) for place in range(len(relevant))]
    got = sum(g for g, hit in zip(gains, relevant[:cutoff], strict=False) if hit)
    return got / sum(gains[: min(sum(relevant), cutoff)])


def test_pictures_that_look_as_asked_come_first(
    pictures: list[Composition], descriptors: np.ndarray
) -> None:
    found = {}
    for question in look_questions():
        layout = read_layout(question.text)
        assert layout is not None
        assert layout.strength >= 0.2, question.text
        order = np.argsort(-layout.scores(descriptors), kind="stable")
        found[question.text] = ndcg([question.answered_by(pictures[place]) for place in order])
    assert np.mean(list(found.values())) > 0.9
    assert sum(value < 0.5 for value in found.values()) <= 2, found


def test_the_drawn_layout_finds_most_of_what_scores_best(
    pictures: list[Composition], descriptors: np.ndarray
) -> None:
    kept = []
    for question in look_questions():
        layout = read_layout(question.text)
        assert layout is not None
        if not any(one.colour for one in layout.constraints):
            continue
        best = np.argsort(-layout.scores(descriptors), kind="stable")[:10]
        near = np.argsort(-(descriptors @ layout.vector()), kind="stable")[:60]
        kept.append(len(set(best) & set(near)) / len(best))
    assert np.mean(kept) > 0.75
