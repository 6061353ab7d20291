"""What is wanted, what is not, phrases and file names: of the words of a query."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecm.contracts.search import MAX_QUERY_CHARS
from ecm.search.grammar import MAX_UNWANTED, read_words


@pytest.mark.parametrize(
    ("text", "wanted", "unwanted"),
    [
        ("beach -people", "beach", ("people",)),
        ('sign -"no entry"', "sign", ("no entry",)),
        ("a street without cars", "a street", ("cars",)),
        ("a street with no cars at night", "a street at night", ("cars",)),
        ("animals without dogs or cats", "animals", ("dogs", "cats")),
        ("animals excluding dogs and wild cats", "animals", ("dogs", "wild cats")),
        ("everything except for cats", "everything", ("cats",)),
        ("red car but not a truck", "red car", ("truck",)),
        ("a dog that is not brown", "a dog", ("brown",)),
        ("a car that isn’t red", "a car", ("red",)),
        ("woman not wearing a hat, beach", "woman, beach", ("wearing a hat",)),
        ("a man without a hat in a red shirt", "a man in a red shirt", ("hat",)),
        ("a beach without people and a dog", "a beach and a dog", ("people",)),
        ("no people in the picture, a beach", "a beach", ("people",)),
        (
            "empty street, no people, no cars, at night",
            "empty street, at night",
            ("people", "cars"),
        ),
        ("🐕 without 🐈", "🐕", ("🐈",)),
        ("café −Straße", "café", ("Straße",)),
        ("no people", "", ("people",)),
        ("-dog", "", ("dog",)),
        # words like others
        ("beach without", "beach without", ()),
        ("without", "without", ()),
        ("no entry sign", "no entry sign", ()),
        ("do not disturb", "do not disturb", ()),
        ("no dogs allowed", "no dogs allowed", ()),
        ("Chanel No. 5", "Chanel No. 5", ()),
        ("with or without sugar", "with or without sugar", ()),
        ("black-and-white", "black-and-white", ()),
        ("t-shirt - cotton", "t-shirt - cotton", ()),
        ("-5 degrees", "-5 degrees", ()),
        ("'; DROP TABLE assets; --", "'; DROP TABLE assets; --", ()),
    ],
)
def test_negations_are_taken_out_of_what_is_wanted(
    text: str, wanted: str, unwanted: tuple[str, ...]
) -> None:
    said = read_words(text)
    assert (said.wanted, said.unwanted) == (wanted, unwanted)


@pytest.mark.parametrize(
    ("text", "wanted", "phrases"),
    [
        ('"no entry" sign', "no entry sign", ("no entry",)),
        ("“golden   hour” at «la mer»", "golden hour at la mer", ("golden hour", "la mer")),
        ('an "unfinished phrase', 'an "unfinished phrase', ()),
        ('""', '""', ()),
    ],
)
def test_quoted_words_are_phrases(text: str, wanted: str, phrases: tuple[str, ...]) -> None:
    said = read_words(text)
    assert (said.wanted, said.phrases, said.unwanted) == (wanted, phrases, ())


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("IMG_2041.jpg", ("IMG_2041.jpg",)),
        ("the photo DSC-0042 of", ("DSC-0042",)),
        ("P1010023 or 20240101_123456", ("P1010023", "20240101_123456")),
        ("holiday-beach.JPEG, portrait.png", ("holiday-beach.JPEG", "portrait.png")),
        ("boeing 747, F-16, A380, covid-19, 1080p, in 2024", ()),
        ("dog -IMG_2041.jpg", ()),
    ],
)
def test_file_names_are_told_from_words(text: str, names: tuple[str, ...]) -> None:
    assert read_words(text).names == names


PIECES = (
    "no", "not", "without", "but", "except", "dog", "cat", "a", "the", '"red car"', "-x", '-"y z"',
    ",", ".", "and", "or", "IMG_2041.jpg", "in",
)  # fmt: skip
WORDS = st.sampled_from(PIECES)


@given(st.one_of(st.text(max_size=MAX_QUERY_CHARS), st.lists(WORDS, max_size=40).map(" ".join)))
def test_any_text_is_read_and_nothing_is_made_up(text: str) -> None:
    said = read_words(text)
    assert len(said.unwanted) <= MAX_UNWANTED
    for part in (*said.phrases, *said.unwanted):
        assert part
        assert part in " ".join(text.split())
    assert set(said.wanted) <= set(text) | {" "}
    if not said.unwanted and not said.phrases:
        assert said.wanted == text.strip()


@given(st.lists(st.sampled_from(["dog", "beach", "sun", "tall tree"]), min_size=1, max_size=5))
def test_minus_and_without_mean_the_same(things: list[str]) -> None:
    wanted = " ".join(things)
    minus = read_words(f"{wanted} -people")
    assert minus == read_words(f"{wanted} without people")
    assert (minus.wanted, minus.unwanted) == (wanted, ("people",))


@pytest.mark.parametrize("piece", ["“", "„", "a.jpg", "-a ", "no ", "without a ", '"', ").", "🐕"])
def test_long_texts_of_one_piece_are_read(piece: str) -> None:
    text = (piece * MAX_QUERY_CHARS)[:MAX_QUERY_CHARS]
    assert read_words(text).wanted is not None
