"""Feedback as the counts that click models are estimated from: how often an asset was shown at a
rank for a query, and how often it was clicked to satisfaction there.

Knows events, no model of clicks. Nobody counts much: of one person, a query and an asset only the
first few showings do, and who searches like a machine does not count at all.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ecm.contracts.feedback import FeedbackKind, StoredEvent
from ecm.evaluation.labels.standing import Pair


@dataclass(frozen=True)
class ClickRules:
    """What counts.

    A click is to satisfaction when the asset was looked at for `satisfied_seconds`, or nobody knows
    for how long; one known to be shorter is not (Fox et al., "Evaluating implicit measures to
    improve web search", TOIS 2005, with 30 s for documents: a picture takes less). Of one person,
    query and asset the first `per_person` showings count; all whose events name neither person nor
    session are one person on each day, since they may be. Who has more than `robot_searches`
    searches in a day counts nowhere on that day.
    """

    satisfied_seconds: float = 5.0
    per_person: int = 3
    robot_searches: int = 500


@dataclass(frozen=True)
class ClickCounts:
    """Cells of a log: `shown` and `clicked` (n,) int64 of pair `pairs[pair[i]]` at rank `rank[i]`.

    A pair is the normalised text of a query and an asset. The other fields count what was left out.
    """

    pairs: tuple[Pair, ...]
    pair: npt.NDArray[np.intp]
    rank: npt.NDArray[np.int64]
    shown: npt.NDArray[np.int64]
    clicked: npt.NDArray[np.int64]
    searches: int = 0
    without_text: int = 0
    of_robots: int = 0
    capped: int = 0
    too_short: int = 0


@dataclass
class _Search:
    """One search as the events of its `query_id` tell it."""

    text: str = ""
    person: str | None = None
    day: str = ""
    shown: dict[str, int] = field(default_factory=dict)
    clicked: set[str] = field(default_factory=set)
    looked: dict[str, float] = field(default_factory=dict)


def normalised(text: str) -> str:
    r"""The text by which queries of a log and of a set are the same: compatibility forms, case and
    spaces make no difference.

    >>> normalised("  Dogs on\tthe BEACH ")
    'dogs on the beach'
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def click_counts(events: Iterable[StoredEvent], rules: ClickRules) -> ClickCounts:
    """The counts of a tenant's events, in any order; holds an entry for each search."""
    searches = _searches(events)
    per_day = Counter((one.person, one.day) for one in searches if one.person is not None)
    left: Counter[str] = Counter()
    shown: Counter[tuple[Pair, int]] = Counter()
    clicked: Counter[tuple[Pair, int]] = Counter()
    seen: Counter[tuple[str, Pair]] = Counter()
    for search in searches:
        if not search.text:
            left["without_text"] += 1
        elif per_day[search.person or "", search.day] > rules.robot_searches:
            left["of_robots"] += 1
        else:
            for asset_id, rank in search.shown.items():
                pair = (search.text, asset_id)
                person = search.person or search.day
                if seen[person, pair] >= rules.per_person:
                    left["capped"] += 1
                    continue
                seen[person, pair] += 1
                shown[pair, rank] += 1
                if asset_id in search.clicked:
                    satisfied = search.looked.get(asset_id, rules.satisfied_seconds)
                    clicked[pair, rank] += satisfied >= rules.satisfied_seconds
                    left["too_short"] += satisfied < rules.satisfied_seconds
    return _cells(shown, clicked, searches=len(searches), left=left)


def _searches(events: Iterable[StoredEvent]) -> list[_Search]:
    """Searches that were shown, with what happened to what was shown; in the order shown."""
    shown: dict[str, _Search] = {}
    later: list[StoredEvent] = []
    for event in events:
        if event.kind is FeedbackKind.IMPRESSION:
            search = shown.setdefault(event.query_id, _Search())
            search.text = search.text or normalised(event.query or "")
            search.day = search.day or event.day
            search.person = search.person or event.unit or event.session
            for one in event.shown:
                search.shown.setdefault(one.asset_id, one.rank)
        else:
            later.append(event)
    for event in later:
        found, asset_id = shown.get(event.query_id), event.asset_id
        if found is None or asset_id is None:
            continue
        if event.kind is FeedbackKind.CLICK:
            found.clicked.add(asset_id)
        else:
            found.looked[asset_id] = found.looked.get(asset_id, 0.0) + (event.seconds or 0.0)
    return list(shown.values())


def _cells(
    shown: Mapping[tuple[Pair, int], int],
    clicked: Mapping[tuple[Pair, int], int],
    searches: int,
    left: Mapping[str, int],
) -> ClickCounts:
    keys = sorted(shown)
    pairs = tuple(dict.fromkeys(pair for pair, _ in keys))
    number = {pair: at for at, pair in enumerate(pairs)}
    return ClickCounts(
        pairs=pairs,
        pair=np.array([number[pair] for pair, _ in keys], dtype=np.intp),
        rank=np.array([rank for _, rank in keys], dtype=np.int64),
        shown=np.array([shown[key] for key in keys], dtype=np.int64),
        clicked=np.array([clicked.get(key, 0) for key in keys], dtype=np.int64),
        searches=searches,
        **left,
    )
