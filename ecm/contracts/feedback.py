"""Feedback: what was shown for a question, what was clicked, how long it was looked at.

As callers send it and as it is stored. Knows no store and no HTTP. Who somebody is is never stored:
the names that a caller gives to people and sessions become marks at the door.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from ecm.contracts.experiment import Exposure
from ecm.contracts.identity import Contract, Digest, TenantId
from ecm.contracts.search import MAX_QUERY_CHARS

MAX_EVENTS = 500
"""In one list."""
MAX_SHOWN = 200
"""Assets in one impression: those of one page."""
MAX_RANK = 10_000
MAX_DWELL_SECONDS = 86_400.0
MAX_AT = 253_402_300_799.0
"""The last second that a date can name (9999-12-31, UTC)."""

QueryId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/=+-]{0,127}$")]
"""What a request can be called: the X-Request-Id that came with the answer of the search."""
EventId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{7,127}$")]
Mark = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Rank = Annotated[int, Field(ge=1, le=MAX_RANK)]
SnapshotName = Annotated[str, StringConstraints(min_length=1, max_length=128)]
RankingDigest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8,64}$")]
QueryText = Annotated[str, StringConstraints(max_length=MAX_QUERY_CHARS)]


class FeedbackKind(StrEnum):
    """What an event tells."""

    IMPRESSION = "impression"
    CLICK = "click"
    DWELL = "dwell"


class Shown(Contract):
    """An asset that was shown, and at which place."""

    asset_id: Digest
    rank: Rank


class _Event(Contract):
    """What every event has.

    `event_id` is chosen by whoever saw the event, so that telling it twice is telling it once;
    without one the event's own content is its id. `unit` and `session` say who and when together,
    in words of the caller's own; only keyed hashes of them are stored.
    """

    event_id: EventId | None = None
    at: float = Field(ge=0, le=MAX_AT, allow_inf_nan=False, description="Unix seconds (UTC)")
    query_id: QueryId = Field(description="X-Request-Id of the search")
    unit: str | None = Field(default=None, min_length=1, max_length=256)
    session: str | None = Field(default=None, min_length=1, max_length=256)


class Impression(_Event):
    """Hits were shown. `ranking` is the digest of the ranking that the answer names."""

    kind: Literal["impression"] = "impression"
    snapshot_id: SnapshotName
    ranking: RankingDigest
    query_digest: Digest | None = None
    query: QueryText | None = Field(default=None, description="the words that were asked for")
    shown: tuple[Shown, ...] = Field(min_length=1, max_length=MAX_SHOWN)

    @model_validator(mode="after")
    def _each_once(self) -> Impression:
        if len({one.asset_id for one in self.shown}) < len(self.shown):
            raise ValueError("an asset is shown twice")
        if len({one.rank for one in self.shown}) < len(self.shown):
            raise ValueError("a rank is given twice")
        return self


class Exposed(Impression):
    """An impression that the service has seen itself, of an answer within an experiment. It is told
    by nobody else: what callers send cannot put anybody into an arm. That nothing was shown is news
    of an arm as well.
    """

    shown: tuple[Shown, ...] = Field(default=(), max_length=MAX_SHOWN)
    experiment: Exposure


class Click(_Event):
    """A hit was opened."""

    kind: Literal["click"] = "click"
    asset_id: Digest
    rank: Rank


class Dwell(_Event):
    """A hit was looked at for so long."""

    kind: Literal["dwell"] = "dwell"
    asset_id: Digest
    seconds: float = Field(ge=0, le=MAX_DWELL_SECONDS, allow_inf_nan=False)


FeedbackEvent = Annotated[Impression | Click | Dwell, Field(discriminator="kind")]


class FeedbackReport(Contract):
    """A list of events, as it is sent."""

    schema_version: Literal[1] = 1
    events: tuple[FeedbackEvent, ...] = Field(min_length=1, max_length=MAX_EVENTS)


class FeedbackReceipt(Contract):
    """What became of a list: each event is counted once.

    `outside`: not stored, since it lies before what is kept or in the future.
    """

    schema_version: Literal[1] = 1
    stored: int = Field(ge=0, description="durable, and not known before")
    repeated: int = Field(ge=0, description="durable since before")
    outside: int = Field(default=0, ge=0)


class StoredEvent(Contract):
    """An event as it lies in the store; what its kind does not have is null. `experiment` is
    written where there is one, so that events of before are the same bytes.
    """

    format_version: Literal[1] = 1
    tenant_id: TenantId
    event_id: EventId
    kind: FeedbackKind
    at: float = Field(ge=0, le=MAX_AT, allow_inf_nan=False)
    query_id: QueryId
    unit: Mark | None = None
    session: Mark | None = None
    snapshot_id: SnapshotName | None = None
    ranking: RankingDigest | None = None
    query_digest: Digest | None = None
    query: QueryText | None = None
    shown: tuple[Shown, ...] = Field(default=(), max_length=MAX_SHOWN)
    asset_id: Digest | None = None
    rank: Rank | None = None
    seconds: float | None = None
    experiment: Exposure | None = None

    @property
    def day(self) -> str:
        """The day of the event (UTC), as 2026-11-25."""
        return day_of(self.at)


def day_of(at: float) -> str:
    """The day of a moment (Unix seconds), UTC.

    >>> day_of(1_790_000_000.0)
    '2026-09-21'
    """
    return datetime.fromtimestamp(at, UTC).date().isoformat()
