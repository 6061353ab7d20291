"""Laws of tidy text: composed, bounded, without what cannot be seen, and tidied once for all."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ecm.contracts.tidy import tidy_line, tidy_lines

ANY = st.text(st.characters(exclude_categories=()), max_size=80) | st.text(
    st.sampled_from(
        "a e\u0301\u0327\u200b\u200c\u200d\u202e\u2066\ud800\ufeff\x00\x1b\x85\u2028\t\n\r ­\u0958"
    ),
    max_size=40,
)
FORMS = pytest.mark.parametrize("tidy", [tidy_line, tidy_lines])
Tidy = Callable[[str, int], str]


@FORMS
@settings(deadline=None)
@given(text=ANY, limit=st.integers(1, 100))
@example(text="a\u200d \u200db", limit=3)
@example(text="\u0958" * 40, limit=40)
def test_a_tidy_text_is_what_it_should_be(tidy: Tidy, text: str, limit: int) -> None:
    said = tidy(text, limit)
    assert len(said) <= limit
    assert unicodedata.is_normalized("NFC", said)
    assert said == said.strip()
    assert said.encode().decode() == said
    for character in said:
        category = unicodedata.category(character)
        assert category not in ("Cs", "Cc") or character == "\n"
        assert (
            category != "Cf"
            or character in "\u200c\u200d\u0600\u0601\u0602\u0603"
            or ord(character) in (0x604, 0x605, 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD)
        )
    assert "  " not in said
    assert "\n\n" not in said
    assert tidy(said, limit) == said


@FORMS
@settings(deadline=None)
@given(text=ANY)
def test_a_text_and_its_decomposition_are_the_same(tidy: Tidy, text: str) -> None:
    plain = "".join(c for c in text if unicodedata.category(c) != "Cs")
    assert tidy(unicodedata.normalize("NFD", plain), 1000) == tidy(plain, 1000)


@settings(deadline=None)
@given(st.text(st.characters(categories=("L", "N", "P", "S")), max_size=40))
def test_letters_numbers_and_signs_stay(text: str) -> None:
    composed = unicodedata.normalize("NFC", text)
    assert tidy_line(text, 1000) == composed == tidy_lines(text, 1000)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain words", "plain words"),
        ("\u202ereversed\u202c", "reversed"),
        ("\u2066isolated\u2069 \u200fright", "isolated right"),
        ("bro\u00adken wo\u200brd\ufeff", "broken word"),
        ("\U000e0069\U000e0067nothing", "nothing"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"),
        ("\u200d\u200c", ""),
        ("a\x00b\x1b[31mred", "ab[31mred"),
        ("a\u00a0b\u3000c\u2003d", "a b c d"),
        ("one\r\ntwo\u2028three", "one two three"),
        ("\ud83d lone", "\ufffd lone"),
        ("\ufdd0\uffff", ""),
        (" \t\n", ""),
        ("cafe\u0301", "café"),
    ],
)
def test_what_cannot_be_meant_is_taken_out(text: str, line: str) -> None:
    assert tidy_line(text, 200) == line


def test_lines_stay_where_they_are_meant() -> None:
    assert tidy_lines(" EXIT\u2029\u2029 only\tthis \x0b way ", 200) == "EXIT\nonly this\nway"


def test_white_space_of_python_is_all_that_is_collapsed() -> None:
    spaces = "".join(chr(c) for c in range(sys.maxunicode + 1) if chr(c).isspace())
    assert tidy_line(f"a{spaces}b", 10) == "a b"
    assert tidy_lines(f"a{spaces}b", 10) == "a\nb"
