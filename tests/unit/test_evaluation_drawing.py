"""Which queries a run asks: by type, by difficulty, the same ones again, from one side only."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecm.contracts.evaluation import Split
from ecm.contracts.search import QueryType
from ecm.errors import ConfigError
from ecm.evaluation.drawing import SHARES, drawn
from tests.evaluated import query

MANY = tuple(query(number) for number in range(400))


def test_types_have_their_shares_and_difficulties_what_they_have_in_the_set() -> None:
    chosen = drawn(MANY, "held_out", 100, seed=0)
    assert Counter(one.query_type for one in chosen) == {
        kind: 100 * share for kind, share in SHARES.items()
    }
    assert all(30 <= count <= 36 for count in Counter(q.difficulty for q in chosen).values())
    assert list(chosen) == sorted(chosen, key=lambda one: one.query_id), "in the set's order"


def test_where_a_type_has_too_few_the_others_make_up_for_it() -> None:
    few = [one for one in MANY if one.query_type is not QueryType.VISUAL]
    few += [one for one in MANY if one.query_type is QueryType.VISUAL][:3]
    few.sort(key=lambda one: one.query_id)
    counts = Counter(one.query_type for one in drawn(few, "all", 100, seed=0))
    assert counts[QueryType.VISUAL] == 3
    assert counts.total() == 100
    assert counts[QueryType.KEYWORD] == pytest.approx(97 * 35 / 80, abs=1)


@given(st.integers(1, 400), st.integers(0, 2**31))
def test_always_as_many_as_asked_and_the_same_again(count: int, seed: int) -> None:
    chosen = drawn(MANY, "held_out", count, seed)
    assert len(chosen) == count
    assert chosen == drawn(MANY, "held_out", count, seed)


def test_a_smaller_draw_is_mostly_part_of_a_larger_one() -> None:
    small, large = (set(drawn(MANY, "all", count, 3)) for count in (50, 200))
    assert len(small & large) >= 48


def test_only_the_side_that_is_asked_for() -> None:
    both = [query(at, Split.LEARN if at % 2 else Split.HELD_OUT) for at in range(20)]
    assert len(drawn(both, "held_out", None, 0)) == 10
    assert len(drawn(both, "learn", None, 0)) == 10
    assert len(drawn(both, "all", None, 0)) == 20
    with pytest.raises(ConfigError, match="no queries"):
        drawn([one for one in both if one.split is Split.LEARN], "held_out", None, 0)
