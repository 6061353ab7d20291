"""Where content was seen, and what later looks found there: the story of places, in time order.

Pure: knows rows of `asset_versions` and `asset_sightings`, no store and no clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field

from ecm.contracts.identity import Contract, Digest
from ecm.evidence.schema import Sighting


class What(StrEnum):
    """What a look at a place found.

    `seen`: content lay there, for the first time or with another date. `replaced`: content lay
    where other content had been. `altered`: the same with the old size and date. `gone`: a complete
    listing did not have the place any more; `moved`: nor had it, and its content had come to
    another. `returned`: known content lay there again.
    """

    SEEN = "seen"
    REPLACED = "replaced"
    ALTERED = "altered"
    GONE = "gone"
    MOVED = "moved"
    RETURNED = "returned"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of either table: `state` of a version is present, `row_id` breaks ties in time."""

    uri: str
    asset_id: str
    run_id: str
    at: float
    state: Sighting
    is_version: bool
    size: int
    mtime_ns: int | None
    etag: str | None
    row_id: str

    @property
    def order(self) -> tuple[float, int, str]:
        """The same order by which a snapshot decides what lies at a place."""
        return self.at, self.mtime_ns or 0, self.row_id


class PlaceEvent(Contract):
    """One look at a place. `at` is Unix seconds (UTC), `size` bytes.

    `before` is the content that lay there until then; `moved_to` and `moved_from` are URIs.
    """

    at: float
    what: What
    uri: str
    asset_id: Digest
    run_id: str
    size: int
    mtime_ns: int | None = None
    etag: str | None = None
    before: Digest | None = None
    moved_to: str | None = None
    moved_from: str | None = Field(default=None, description="where the content had been")


@dataclass(frozen=True, slots=True)
class Timeline:
    """Every look at some places in time order, and the content that lies at each by the last."""

    events: tuple[PlaceEvent, ...]
    holders: Mapping[str, str]


def timeline(rows: Iterable[Row], ends: Mapping[str, float | None]) -> Timeline:
    """The story that rows tell; `ends` says when runs ended, for those that are known to have.

    Content has moved when it is gone from one place and the same run, or the time until that run
    ended, has seen it at a place where it did not lie before.
    """
    events: list[PlaceEvent] = []
    holders: dict[str, str] = {}
    by_uri: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.order):
        by_uri[row.uri].append(row)
    for uri, looks in by_uri.items():
        holder: str | None = None
        known: set[str] = set()
        for look in looks:
            events.append(_event(look, holder, known))
            known.add(look.asset_id)
            holder = None if look.state is Sighting.GONE else look.asset_id
        if holder is not None:
            holders[uri] = holder
    events.sort(key=lambda event: (event.at, event.what is not What.GONE, event.uri))
    return Timeline(tuple(_moves(events, ends)), holders)


def _event(look: Row, holder: str | None, known: set[str]) -> PlaceEvent:
    return PlaceEvent(
        at=look.at,
        what=_what(look, holder, known),
        uri=look.uri,
        asset_id=look.asset_id,
        run_id=look.run_id,
        size=look.size,
        mtime_ns=look.mtime_ns,
        etag=look.etag,
        before=holder if holder != look.asset_id else None,
    )


def _what(look: Row, holder: str | None, known: set[str]) -> What:
    if look.state is Sighting.GONE:
        return What.GONE
    if look.state is Sighting.ALTERED:
        return What.ALTERED
    if holder == look.asset_id:
        return What.SEEN
    if look.asset_id in known or not look.is_version:
        return What.RETURNED
    return What.SEEN if holder is None else What.REPLACED


def _moves(events: list[PlaceEvent], ends: Mapping[str, float | None]) -> list[PlaceEvent]:
    """The same events, with each departure tied to the first arrival of its content."""
    arrivals: dict[str, list[int]] = defaultdict(list)
    here: set[tuple[str, str]] = set()
    for number, event in enumerate(events):
        place = (event.uri, event.asset_id)
        if event.what is What.GONE:
            here.discard(place)
        elif place not in here:
            arrivals[event.asset_id].append(number)
            here.add(place)
    told = list(events)
    for number, event in enumerate(events):
        if event.what is not What.GONE:
            continue
        end = ends.get(event.run_id)
        for arrival in arrivals[event.asset_id]:
            came = told[arrival]
            if came.uri == event.uri or came.moved_from or came.at < event.at:
                continue
            if came.run_id == event.run_id or (end is not None and came.at <= end):
                told[number] = event.model_copy(update={"what": What.MOVED, "moved_to": came.uri})
                told[arrival] = came.model_copy(update={"moved_from": event.uri})
                break
    return told
