"""Label work: pairs that wait for people's judgement, and what people say of them.

As it is kept. Knows no file, no clock and nobody's name but the one a labeler goes by. Labels that
come of it are `evaluation`'s.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field

from ecm.contracts.evaluation import EvaluationQueryId, Labeler, Name, Relevance
from ecm.contracts.identity import Contract, Digest, TenantId
from ecm.contracts.measured import RunId

MAX_PAIRS: Final = 1_000_000
MAX_AT: Final = 253_402_300_799.0
"""The last second that a date can name (9999-12-31, UTC)."""
MAX_SECONDS: Final = 86_400.0

At = Annotated[float, Field(ge=0, le=MAX_AT, allow_inf_nan=False)]


class Part(StrEnum):
    """What a vote is for: `judge` says what one sees, blind; `settle` ends a difference of others,
    whose votes one has seen.
    """

    JUDGE = "judge"
    SETTLE = "settle"


class Vote(Contract):
    """What one labeler says of one query and asset. `relevance` null: cannot say.

    Of the votes of one labeler on a pair, one part each, the latest counts; all are kept. `seconds`
    is how long the pair was before the labeler's eyes.
    """

    format_version: Literal[1] = 1
    tenant_id: TenantId
    query_id: EvaluationQueryId
    asset_id: Digest
    relevance: Relevance | None
    labeler: Labeler
    part: Part = Part.JUDGE
    at: At = Field(description="Unix seconds (UTC)")
    seconds: float | None = Field(default=None, ge=0, le=MAX_SECONDS, allow_inf_nan=False)

    @property
    def pair(self) -> tuple[str, str]:
        """The query and the asset."""
        return self.query_id, self.asset_id


class PooledPair(Contract):
    """A query and an asset that some engine gave for it: `best_rank` is the best place there.

    `found_by` are RUN:ENGINE. Neither is ever shown to whoever judges.
    """

    query_id: EvaluationQueryId
    asset_id: Digest
    best_rank: int = Field(ge=1)
    found_by: tuple[str, ...] = Field(min_length=1)

    @property
    def pair(self) -> tuple[str, str]:
        """The query and the asset."""
        return self.query_id, self.asset_id


class BatchPair(Contract):
    """A pair that waits for people. `check`: what is known of it already, where it is mixed in to
    see how well people judge; its votes make no label.
    """

    query_id: EvaluationQueryId
    asset_id: Digest
    check: Relevance | None = None

    @property
    def pair(self) -> tuple[str, str]:
        """The query and the asset."""
        return self.query_id, self.asset_id


class _Document(Contract):
    """What the heads of a pool and of a batch have; their pairs are lines of a JSONL file."""

    format_version: Literal[1] = 1
    tenant_id: TenantId
    name: Name = Field(description="the label set that the work is for")
    number: int = Field(ge=1)
    created_at: At
    digest: Digest
    pairs: int = Field(ge=0, le=MAX_PAIRS)
    query_set: Name
    query_set_digest: Digest


class Pool(_Document):
    """The head of a pool: the best `depth` results of every engine of some runs, taken together."""

    runs: tuple[RunId, ...]
    depth: int = Field(ge=1)


class Batch(_Document):
    """The head of a batch: pairs drawn from pools, each for at least `overlap` labelers."""

    overlap: int = Field(ge=1)
    seed: int = Field(ge=0)
