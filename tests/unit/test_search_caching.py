"""What is remembered of searches: for how long, within how much memory, and what never is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecm.contracts.search import Axis
from ecm.errors import ImageError
from ecm.search.caching import ENTRY_BYTES, LruCache
from ecm.search.encoders import AxisVector, EncodedQuery, EncodingRequest
from ecm.search.kept_encodings import KeptEncodings

WORDS = EncodingRequest(frozenset({Axis.VV, Axis.MV}), text="a red car")
REACHED = {Axis.VV: ("v1",), Axis.MV: ("m1",)}


def vector(transform: str) -> AxisVector:
    return AxisVector(np.ones(4, np.float32) / 2, transform)


WHOLE = EncodedQuery({Axis.VV: vector("v1"), Axis.MV: vector("m1")})


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.integers(0, 3000), st.booleans()), max_size=60
    ),
    st.integers(0, 8000),
)
def test_a_cache_never_holds_more_than_it_may_and_gives_back_what_was_put(
    steps: list[tuple[str, int, bool]], bound: int
) -> None:
    cache = LruCache[tuple[str, int]](bound, ttl=60.0, clock=lambda: 0.0)
    last: dict[str, tuple[str, int]] = {}
    for key, size, puts in steps:
        if puts:
            cache.put(key, (key, size), size)
            last[key] = (key, size)
            if size + ENTRY_BYTES <= bound:
                assert cache.get(key) == (key, size)
        elif (found := cache.get(key)) is not None:
            assert found == last[key]
        assert 0 <= cache.nbytes <= bound


def test_what_has_not_been_used_for_longest_goes_first_and_nothing_outlives_its_time() -> None:
    now = [0.0]
    cache = LruCache[int](2 * ENTRY_BYTES, ttl=5.0, clock=lambda: now[0])
    cache.put("a", 1, 0)
    cache.put("b", 2, 0)
    assert cache.get("a") == 1
    cache.put("c", 3, 0)
    assert [cache.get(key) for key in "abc"] == [1, None, 3]
    now[0] = 5.0
    assert [cache.get(key) for key in "abc"] == [None, None, None]
    assert cache.nbytes == 0


def test_the_same_words_are_encoded_once_for_as_long_as_the_snapshot_is_of_the_same_models() -> (
    None
):
    remembered = KeptEncodings(LruCache[EncodedQuery](1 << 20, ttl=60.0))
    assert remembered.recall(WORDS, REACHED) is None
    remembered.keep(WORDS, WHOLE, REACHED)
    assert remembered.recall(WORDS, REACHED) is WHOLE
    other = EncodingRequest(WORDS.axes, text="a red cart")
    shown = EncodingRequest(WORDS.axes, text="a red car", image=b"bytes")
    fewer = EncodingRequest(frozenset({Axis.MV}), text="a red car")
    for request in (other, shown, fewer):
        assert remembered.recall(request, REACHED) is None
    assert remembered.recall(WORDS, {**REACHED, Axis.VV: ("v2",)}) is None


@pytest.mark.parametrize(
    "encoded",
    [
        EncodedQuery({Axis.VV: vector("v1")}, {Axis.MV: "the model failed"}),
        EncodedQuery({Axis.VV: vector("v0"), Axis.MV: vector("m1")}),
        EncodedQuery(refused=ImageError("no image")),
    ],
    ids=["failed", "stale-model", "refused"],
)
def test_what_may_not_be_compared_or_is_not_whole_is_not_remembered(encoded: EncodedQuery) -> None:
    remembered = KeptEncodings(LruCache[EncodedQuery](1 << 20, ttl=60.0))
    remembered.keep(WORDS, encoded, REACHED)
    assert remembered.recall(WORDS, REACHED) is None
