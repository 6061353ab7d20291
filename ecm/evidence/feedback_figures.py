"""What feedback says of the search, in figures. Pure: knows events, no store and no clock."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable

from pydantic import Field

from ecm.contracts.feedback import FeedbackKind, StoredEvent
from ecm.contracts.identity import Contract

TOP_RANKS = 10


class RankFigures(Contract):
    """How often a place was shown, and how often what stood there was opened."""

    rank: int
    shown: int
    clicked: int


class FeedbackFigures(Contract):
    """Of the events of one tenant.

    A search is one `query_id`. `clicked` are searches shown and clicked; `unmatched` are clicks and
    looks whose search was never shown. `first_click_rr` is the mean over searches shown of 1 / rank
    of the best hit that was opened, 0 where none was (mean reciprocal rank).
    """

    events: int
    impressions: int
    clicks: int
    dwells: int
    first_day: str | None
    last_day: str | None
    searches: int = Field(description="shown at least once")
    clicked: int
    unmatched: int
    first_click_rr: float | None
    dwell_median_seconds: float | None
    by_rank: tuple[RankFigures, ...]
    by_ranking: dict[str, int] = Field(description="searches shown by digest of the ranking")


def figures(events: Iterable[StoredEvent]) -> FeedbackFigures:
    """The figures of some events; holds an entry for each search."""
    kinds: Counter[FeedbackKind] = Counter()
    shown_at: Counter[int] = Counter()
    clicked_at: Counter[int] = Counter()
    days: set[str] = set()
    rankings: dict[str, str] = {}
    best: dict[str, int] = {}
    later: defaultdict[str, int] = defaultdict(int)
    seconds: list[float] = []
    for event in events:
        kinds[event.kind] += 1
        days.add(event.day)
        if event.kind is FeedbackKind.IMPRESSION:
            if event.shown:  # an answer within an experiment is known even where it was empty
                rankings[event.query_id] = event.ranking or ""
            shown_at.update(one.rank for one in event.shown)
            continue
        later[event.query_id] += 1
        if event.rank is not None:
            clicked_at[event.rank] += 1
            best[event.query_id] = min(event.rank, best.get(event.query_id, event.rank))
        if event.seconds is not None:
            seconds.append(event.seconds)
    reciprocals = [1.0 / best[name] if name in best else 0.0 for name in rankings]
    return FeedbackFigures(
        events=kinds.total(),
        impressions=kinds[FeedbackKind.IMPRESSION],
        clicks=kinds[FeedbackKind.CLICK],
        dwells=kinds[FeedbackKind.DWELL],
        first_day=min(days, default=None),
        last_day=max(days, default=None),
        searches=len(rankings),
        clicked=sum(name in best for name in rankings),
        unmatched=sum(count for name, count in later.items() if name not in rankings),
        first_click_rr=statistics.fmean(reciprocals) if reciprocals else None,
        dwell_median_seconds=statistics.median(seconds) if seconds else None,
        by_rank=tuple(
            RankFigures(rank=rank, shown=shown_at[rank], clicked=clicked_at[rank])
            for rank in range(1, TOP_RANKS + 1)
            if shown_at[rank] or clicked_at[rank]
        ),
        by_ranking=dict(Counter(rankings.values())),
    )
