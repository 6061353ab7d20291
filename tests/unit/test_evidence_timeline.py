"""Laws of the story that looks tell, whatever they saw in whatever order."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from ecm.evidence.schema import Sighting
from ecm.evidence.timeline import Row, What, timeline

ASSETS = tuple(digit * 64 for digit in "abc")


@st.composite
def looks(draw: st.DrawFn) -> list[Row]:
    """Up to a dozen looks at three places, some at the same moment."""
    rows = []
    for number in range(draw(st.integers(0, 12))):
        state = draw(st.sampled_from(list(Sighting)))
        rows.append(
            Row(
                uri=f"file:///{draw(st.sampled_from('xyz'))}",
                asset_id=draw(st.sampled_from(ASSETS)),
                run_id=f"run-{draw(st.integers(1, 3))}",
                at=float(draw(st.integers(0, 6))),
                state=state,
                is_version=state is Sighting.PRESENT and draw(st.booleans()),
                size=1,
                mtime_ns=draw(st.none() | st.integers(0, 2)),
                etag=None,
                row_id=f"{number:064x}",
            )
        )
    return rows


@given(rows=looks(), order=st.randoms(use_true_random=False))
def test_the_last_look_decides_and_the_order_of_rows_does_not(
    rows: list[Row], order: Random
) -> None:
    last: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: row.order):
        last[row.uri] = row
    told = timeline(rows, {})
    assert told.holders == {
        uri: row.asset_id for uri, row in last.items() if row.state is not Sighting.GONE
    }
    shuffled = list(rows)
    order.shuffle(shuffled)
    assert timeline(shuffled, {}) == told


@given(rows=looks(), end=st.floats(0, 6))
def test_every_look_is_told_once_in_time_order_and_moves_have_two_ends(
    rows: list[Row], end: float
) -> None:
    events = timeline(rows, {"run-1": end}).events
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert Counter((e.uri, e.asset_id, e.at, e.run_id) for e in events) == Counter(
        (row.uri, row.asset_id, row.at, row.run_id) for row in rows
    )
    departures = [event for event in events if event.what is What.MOVED]
    arrivals = [event for event in events if event.moved_from]
    assert Counter((e.asset_id, e.uri, e.moved_to) for e in departures) == Counter(
        (e.asset_id, e.moved_from, e.uri) for e in arrivals
    )
    assert all(event.moved_to != event.uri for event in departures)
    assert all(event.before != event.asset_id for event in events)
