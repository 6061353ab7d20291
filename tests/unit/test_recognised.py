"""Lines that were read: boxes within the picture, and an order that no order of finding changes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.contracts.result import Box, TextStatement
from ecm.models.recognised import Line, ReadingParams, box_of, reading_order, statements

WIDE, HIGH = 640, 400
ALL = ReadingParams(min_confidence=0.0)

corner = st.tuples(st.floats(-100, WIDE + 100), st.floats(-100, HIGH + 100))
line = st.builds(
    Line,
    st.text(max_size=12),
    st.floats(0, 1),
    st.lists(corner, min_size=1, max_size=5),
)


def upright(text: str, left: float, top: float, right: float, bottom: float) -> Line:
    return Line(text, 0.9, [(left, top), (right, top), (right, bottom), (left, bottom)])


@settings(deadline=None)
@given(st.lists(line, max_size=12), st.randoms(use_true_random=False))
def test_what_is_told_depends_on_what_was_found_and_not_on_when(
    lines: list[Line], chance: random.Random
) -> None:
    told = statements(lines, WIDE, HIGH, ALL)
    shuffled = list(lines)
    chance.shuffle(shuffled)
    assert statements(shuffled, WIDE, HIGH, ALL) == told
    assert len(told) <= len(lines)


@settings(deadline=None)
@given(st.lists(corner, min_size=1, max_size=5))
def test_a_box_lies_in_the_picture_and_has_its_corners_in_it(
    corners: list[tuple[float, float]],
) -> None:
    box = box_of(corners, WIDE, HIGH)
    assert 0.0 <= box.left <= box.right <= 1.0
    assert 0.0 <= box.top <= box.bottom <= 1.0
    for x, y in corners:
        if 0 <= x <= WIDE and 0 <= y <= HIGH:
            assert box.left <= x / WIDE <= box.right
            assert box.top <= y / HIGH <= box.bottom


def test_rows_are_read_from_the_top_and_each_from_the_left() -> None:
    found = [
        upright("17.50", 400, 187, 527, 239),
        upright("Total due", 36, 184, 247, 236),
        upright("below", 10, 300, 90, 330),
        upright("INVOICE", 38, 64, 480, 115),
    ]
    told = [said.text for said in statements(found, WIDE, HIGH, ALL)]
    assert told == ["INVOICE", "Total due", "17.50", "below"]


def test_what_is_unsure_empty_or_too_much_is_left_out() -> None:
    params = ReadingParams(min_confidence=0.5, max_lines=2, max_chars=5)
    found = [
        Line("unsure", 0.49, [(0, 0), (9, 9)]),
        Line(" \u200b ", 0.99, [(0, 20), (9, 29)]),
        Line("least sure", 0.6, [(0, 40), (9, 49)]),
        Line("second", 0.8, [(0, 80), (9, 89)]),
        Line("first", 0.7, [(0, 60), (9, 69)]),
    ]
    told = statements(found, WIDE, HIGH, params)
    assert [said.text for said in told] == ["first", "secon"]


def test_a_line_without_a_box_has_no_place() -> None:
    with pytest.raises(ValueError, match="reading order"):
        reading_order([TextStatement(text="somewhere")])


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=10))
def test_every_line_is_told_once(places: list[tuple[float, float]]) -> None:
    said = [
        TextStatement(text=str(n), box=Box(left=x, top=y, right=x, bottom=y))
        for n, (x, y) in enumerate(places)
    ]
    assert sorted(each.text for each in reading_order(said)) == sorted(each.text for each in said)
