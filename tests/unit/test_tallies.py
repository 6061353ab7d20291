"""Laws of what is summed over two sides: turned round, alike, and whatever the order."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.evidence.tallies import MAX_OCR_CHARS, Said, WordTally, text_of

CONFIDENCES = st.none() | st.floats(0, 1)
WORDS = st.sampled_from(["dog", "Dog", "cat", "a bird", "fox", ""])
LABELS = st.lists(
    st.tuples(WORDS.filter(bool), CONFIDENCES),
    max_size=4,
    unique_by=lambda pair: pair[0].casefold(),
).map(tuple)
SAID = st.builds(
    Said,
    looked=st.booleans(),
    read=st.booleans(),
    caption=st.lists(WORDS, max_size=3).map(" ".join).map(str.strip),
    caption_confidence=CONFIDENCES,
    composed=st.booleans(),
    tags=LABELS,
    classes=LABELS,
    scheme=st.sampled_from(["", "imagenet-1k"]),
    ocr=LABELS,
)
PAIRS = st.lists(st.tuples(SAID, SAID), max_size=12)


def _tally(pairs: Sequence[tuple[Said, Said]], worst: int = 3) -> WordTally:
    tally = WordTally(worst)
    for place, (a, b) in enumerate(pairs):
        tally.add(f"{place:064x}", a, b)
    return tally


@settings(deadline=None, max_examples=60)
@given(PAIRS)
def test_turned_round_everything_is_turned_round(pairs: list[tuple[Said, Said]]) -> None:
    one, other = _tally(pairs), _tally([(b, a) for a, b in pairs])
    captions, turned = one.captions.result(), other.captions.result()
    assert (captions is None) == (turned is None)
    if captions is not None and turned is not None:
        assert (captions.jaccard, captions.exact) == (turned.jaccard, turned.exact)
        assert (captions.a, captions.b) == (turned.b, turned.a)
    tags, backwards = one.tags.result(9), other.tags.result(9)
    if tags is not None and backwards is not None:
        assert (tags.jaccard, tags.gained, tags.lost) == (
            backwards.jaccard,
            backwards.lost,
            backwards.gained,
        )
    assert one.classes.raters.kappa() == other.classes.raters.kappa()
    for left, right in zip(one.confidences, other.confidences, strict=True):
        assert left.bins_a == right.bins_b
        assert sorted(left.differences) == sorted(-value for value in right.differences)
    assert [(e.asset_id, e.agreement) for e in one.examples()] == [
        (e.asset_id, e.agreement) for e in other.examples()
    ]


@settings(deadline=None, max_examples=60)
@given(st.lists(SAID, max_size=12))
def test_who_says_the_same_agrees_in_everything(said: list[Said]) -> None:
    tally = _tally([(each, each) for each in said])
    for part in (tally.captions.result(), tally.tags.result(9), tally.readings.result()):
        assert part is None or part.exact == 1.0
    classes = tally.classes.result()
    assert classes is None or classes.agreement == classes.ac1 == classes.pabak == 1.0
    for shift in filter(None, (each.result() for each in tally.confidences)):
        assert shift.histogram_a == shift.histogram_b
        assert shift.difference is None or shift.difference.lowest == shift.difference.highest == 0
    assert tally.examples() == ()


@settings(deadline=None, max_examples=60)
@given(PAIRS, st.integers(0, 5), st.randoms(use_true_random=False))
def test_the_worst_are_the_worst_in_whatever_order_they_come(
    pairs: list[tuple[Said, Said]], worst: int, chance: object
) -> None:
    everything = _tally(pairs, len(pairs)).examples()
    assert _tally(pairs, worst).examples() == everything[:worst]
    assert [e.agreement for e in everything] == sorted(e.agreement for e in everything)
    assert all(0.0 <= e.agreement < 1.0 for e in everything)
    tally = WordTally(worst)
    numbered = [(f"{place:064x}", *pair) for place, pair in enumerate(pairs)]
    chance.shuffle(numbered)  # type: ignore[attr-defined]
    for entry in numbered:
        tally.add(*entry)
    assert tally.examples() == everything[:worst]


def test_what_only_one_was_asked_is_not_held_against_the_other() -> None:
    looked = Said(looked=True, caption="a dog", tags=(("dog", 0.5),))
    tally = _tally([(looked, Said(read=True, ocr=(("STOP", 0.9),)))])
    assert (tally.captions.result(), tally.tags.result(9), tally.readings.result()) == (
        None,
        None,
        None,
    )
    assert tally.examples() == ()


def test_long_texts_are_compared_as_far_as_their_limit() -> None:
    said = Said(read=True, ocr=tuple((("x" * 999), None) for _ in range(9)))
    assert len(text_of(said)) == MAX_OCR_CHARS
    many = WordTally(2)
    for place in range(1000):
        many.add(f"{place:064x}", Said(looked=True, tags=(("a", None),)), Said(looked=True))
    assert [e.asset_id for e in many.examples()] == [f"{place:064x}" for place in (0, 1)]
