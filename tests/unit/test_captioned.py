"""What the captions of a run took, from numbers that envelopes carry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecm.delivery.captioned import captioned

COUNTS = {
    "captioned": 4.0,
    "asks": 6.0,
    "fallback": 1.0,
    "prompt_tokens": 400.0,
    "cached_tokens": 300.0,
    "output_tokens": 90.0,
    "blocks": 10.0,
    "finish_stop": 3.0,
    "finish_length": 1.0,
}


def test_a_run_without_a_captioner_says_nothing() -> None:
    assert captioned({}) is None
    assert captioned({"something_else": 3.0}) is None


def test_sums_become_rates_and_reasons() -> None:
    told = captioned(COUNTS)
    assert told is not None
    assert (told.images, told.asks, told.fallbacks, told.output_tokens) == (4, 6, 1, 90)
    assert told.prefix_hit_rate == 0.75
    assert told.blocks_at_once == 2.5
    assert told.finish_reasons == {"length": 1, "stop": 3}
    numbers = told.numbers()
    assert numbers["captions.prefix_hit_rate"] == 0.75
    assert all(isinstance(value, int | float) for value in numbers.values())


@given(st.integers(1, 1000))
def test_rates_do_not_depend_on_how_many_pictures_there_were(times: int) -> None:
    one, many = captioned(COUNTS), captioned({n: v * times for n, v in COUNTS.items()})
    assert one is not None
    assert many is not None
    assert many.prefix_hit_rate == pytest.approx(one.prefix_hit_rate)
    assert many.blocks_at_once == pytest.approx(one.blocks_at_once)
    assert many.images == times * one.images
