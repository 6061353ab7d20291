"""Laws of agreement: bounds, symmetry, identity, and the published examples."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.evidence.agreement import (
    Distribution,
    LabelAgreement,
    edit_distance,
    jaccard,
    overlap,
    similarity,
    words,
)

TEXTS = st.text(st.sampled_from("abcé 中\U0001f600"), max_size=60)
SETS = st.frozensets(st.sampled_from("abcdef"))
RATINGS = st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("xyz")), min_size=1)


def _rated(pairs: Sequence[tuple[str, str]]) -> LabelAgreement:
    agreement = LabelAgreement()
    for left, right in pairs:
        agreement.add(left, right)
    return agreement


def _by_table(left: str, right: str) -> int:
    """The textbook table of Wagner and Fischer (1974)."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        last, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (a != b))
    return row[-1]


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_edits_are_those_of_the_textbook(left: str, right: str) -> None:
    assert edit_distance(left, right) == _by_table(left, right) == edit_distance(right, left)
    edits = edit_distance(left, right)
    assert 0.0 <= similarity(left, right, edits) == similarity(right, left, edits) <= 1.0
    assert (similarity(left, right, edits) == 1.0) == (left == right)


@settings(deadline=None)
@given(SETS, SETS)
def test_sets_agree_between_nothing_and_all(left: frozenset[str], right: frozenset[str]) -> None:
    assert 0.0 <= jaccard(left, right) == jaccard(right, left) <= 1.0
    assert (jaccard(left, right) == 1.0) == (left == right)


@settings(deadline=None)
@given(st.permutations(range(20)), st.permutations(range(20)))
def test_neighbourhoods_overlap_symmetrically(left: list[int], right: list[int]) -> None:
    assert overlap(left[:10], right[:10]) == overlap(right[:10], left[:10])
    assert 0.0 <= overlap(left[:10], right[:10]) <= 1.0
    assert overlap(left[:10], list(reversed(left[:10]))) == 1.0
    assert overlap([], []) == 1.0


@settings(deadline=None)
@given(TEXTS)
def test_words_have_no_case_and_no_order(text: str) -> None:
    assert words(text.upper()) == words(text.lower())
    assert words(text) == words(" ".join(sorted(words(text))))


@settings(deadline=None)
@given(RATINGS)
def test_raters_agree_within_bounds_and_symmetrically(pairs: list[tuple[str, str]]) -> None:
    rated, turned = _rated(pairs), _rated([(b, a) for a, b in pairs])
    for one, other in (
        (rated.share(), turned.share()),
        (rated.kappa(), turned.kappa()),
        (rated.ac1(), turned.ac1()),
        (rated.pabak(), turned.pabak()),
    ):
        assert one == other
        assert one is None or -1.0 <= one <= 1.0


@settings(deadline=None)
@given(RATINGS)
def test_a_rater_agrees_with_itself(pairs: list[tuple[str, str]]) -> None:
    rated = _rated([(a, a) for a, _ in pairs])
    assert rated.share() == rated.ac1() == rated.pabak() == 1.0
    assert rated.kappa() in (None, pytest.approx(1.0))
    assert (rated.kappa() is None) == (rated.categories == 1)


def test_agreement_of_the_published_examples() -> None:
    """118 of 125 subjects alike, one of them positive: Gwet 2008, table 2 of its paradox."""
    pairs = [("+", "+")] * 118 + [("+", "-")] * 5 + [("-", "+")] * 2
    rated = _rated(pairs)
    assert rated.share() == pytest.approx(0.944)
    assert rated.kappa() == pytest.approx(-0.0234, abs=5e-4)
    assert rated.ac1() == pytest.approx(0.9408, abs=5e-4)
    assert rated.pabak() == pytest.approx(0.888)
    assert LabelAgreement().share() is LabelAgreement().kappa() is LabelAgreement().ac1() is None


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_a_distribution_is_ordered(values: list[float]) -> None:
    found = Distribution.of(values)
    assert found is not None
    assert found.count == len(values)
    assert found.lowest <= found.p10 <= found.median <= found.p90 <= found.highest
    assert found.lowest <= found.mean <= found.highest
    assert Distribution.of(reversed(values)) == found
    assert Distribution.of([]) is None
