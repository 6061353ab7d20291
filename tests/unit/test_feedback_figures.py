"""Figures of feedback against counting them one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecm.contracts.feedback import FeedbackKind, Shown, StoredEvent
from ecm.evidence.feedback_figures import figures

AT = 1_790_000_000.0
QUERIES = st.sampled_from(["q1", "q2", "q3"])


def stored(number: int, kind: FeedbackKind, query: str, place: int) -> StoredEvent:
    said: dict[str, object] = {
        "tenant_id": "t",
        "event_id": f"event-{number:04}",
        "kind": kind,
        "at": AT + number,
        "query_id": query,
    }
    match kind:
        case FeedbackKind.IMPRESSION:
            said["ranking"] = f"{place:08}"
            said["shown"] = tuple(
                Shown(asset_id=f"{n}" * 64, rank=n) for n in range(1, min(place, 9) + 1)
            )
        case FeedbackKind.CLICK:
            said |= {"asset_id": "1" * 64, "rank": place}
        case FeedbackKind.DWELL:
            said |= {"asset_id": "1" * 64, "seconds": float(place)}
    return StoredEvent.model_validate(said)


@given(told=st.lists(st.tuples(st.sampled_from(FeedbackKind), QUERIES, st.integers(1, 12))))
def test_law_figures_are_what_counting_gives(told: list[tuple[FeedbackKind, str, int]]) -> None:
    events = [stored(number, *each) for number, each in enumerate(told)]
    found = figures(iter(events))
    shown = {e.query_id for e in events if e.kind is FeedbackKind.IMPRESSION}
    clicks = [e for e in events if e.kind is FeedbackKind.CLICK]
    assert found.events == len(events) == found.impressions + found.clicks + found.dwells
    assert found.searches == len(shown) == sum(found.by_ranking.values())
    assert found.clicked == len(shown & {e.query_id for e in clicks})
    assert found.unmatched == sum(
        e.kind is not FeedbackKind.IMPRESSION and e.query_id not in shown for e in events
    )
    if shown:
        best = [
            max((1 / (e.rank or 1) for e in clicks if e.query_id == name), default=0.0)
            for name in shown
        ]
        assert found.first_click_rr == pytest.approx(sum(best) / len(best))
    else:
        assert found.first_click_rr is None
    for one in found.by_rank:
        assert one.clicked == sum(e.rank == one.rank for e in clicks)
        assert one.shown == sum(one.rank in [s.rank for s in e.shown] for e in events)
