"""Token buckets by a clock of the test: never more than the burst and what time has earned."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecm.access.limits import Limiter, RateLimit
from ecm.access.scopes import Scope

TWO_A_SECOND = RateLimit(rate=2.0, burst=4)


def test_a_burst_goes_through_and_then_the_rate() -> None:
    limiter = Limiter({Scope.SEARCH: TWO_A_SECOND})
    first = [limiter.take("k", Scope.SEARCH, 10.0) for _ in range(5)]
    assert [taken and (taken.granted, taken.left) for taken in first] == [
        (True, 3),
        (True, 2),
        (True, 1),
        (True, 0),
        (False, 0),
    ]
    refused = first[-1]
    assert refused is not None
    assert (refused.wait, refused.full) == (0.5, 2.0)
    waited = limiter.take("k", Scope.SEARCH, 10.5)
    assert waited is not None
    assert waited.granted


def test_keys_and_scopes_do_not_take_from_each_other() -> None:
    limiter = Limiter({Scope.SEARCH: TWO_A_SECOND, Scope.ADMIN: TWO_A_SECOND})
    for _ in range(5):
        limiter.take("loud", Scope.SEARCH, 0.0)
    for key, scope in (("quiet", Scope.SEARCH), ("loud", Scope.ADMIN)):
        taken = limiter.take(key, scope, 0.0)
        assert taken is not None
        assert taken.granted
    assert limiter.take("loud", Scope.INGEST, 0.0) is None, "what has no limit is not counted"


def test_what_costs_more_than_a_bucket_holds_takes_a_full_one() -> None:
    limiter = Limiter({Scope.SEARCH: TWO_A_SECOND})
    batch = limiter.take("k", Scope.SEARCH, 0.0, cost=50)
    again = limiter.take("k", Scope.SEARCH, 1.0, cost=50)
    assert batch is not None
    assert again is not None
    assert (batch.granted, again.granted, again.wait) == (True, False, 1.0)


def test_what_is_small_takes_a_part_of_a_token() -> None:
    limiter = Limiter({Scope.SEARCH: TWO_A_SECOND})
    small = [limiter.take("k", Scope.SEARCH, 0.0, cost=0.05) for _ in range(81)]
    assert [taken and taken.granted for taken in small] == [True] * 80 + [False]


@given(
    rate=st.floats(0.01, 1000),
    burst=st.integers(1, 50),
    asked=st.lists(st.tuples(st.floats(0, 5), st.integers(1, 5)), max_size=60),
)
def test_in_any_time_no_more_is_granted_than_the_burst_and_what_was_earned(
    rate: float, burst: int, asked: list[tuple[float, int]]
) -> None:
    limiter = Limiter({Scope.SEARCH: RateLimit(rate=rate, burst=burst)})
    now, spent = 0.0, 0
    for step, cost in asked:
        now += step
        taken = limiter.take("k", Scope.SEARCH, now, cost)
        assert taken is not None
        if taken.granted:
            spent += min(cost, burst)
            assert spent <= burst + rate * now + 1e-6 * (1 + spent)
        else:
            assert taken.wait > 0
            later = now + taken.wait
            granted = Limiter({Scope.SEARCH: RateLimit(rate=rate, burst=burst)})
            granted.take("k", Scope.SEARCH, now, burst)
            enough = granted.take("k", Scope.SEARCH, later + burst / rate, cost)
            assert enough is not None
            assert enough.granted


def test_a_clock_that_stands_still_or_goes_back_earns_nothing() -> None:
    limiter = Limiter({Scope.SEARCH: RateLimit(rate=1.0, burst=1)})
    assert [
        taken and taken.granted
        for taken in (limiter.take("k", Scope.SEARCH, now) for now in (5.0, 5.0, 1.0, 5.5, 6.0))
    ] == [True, False, False, False, True]


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (float("inf"), 1), (1, 0), (-1, 1)])
def test_a_rate_is_a_rate(rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match="input"):
        RateLimit(rate=rate, burst=burst)
