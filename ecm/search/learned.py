"""Where the numbers of a learned ranking profile come from: the `learned` section.

Knows names and digests; learns nothing. It changes no ranking and is therefore no part of the
profile's digest; instead it names the digest of the numbers that were learned, so that numbers
changed by hand do not pass for learned ones.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ecm.contracts.identity import Digest
from ecm.search.weights import Part


class SetUsed(Part):
    """A query set or a label set."""

    name: str
    version: int = Field(ge=1)
    digest: Digest


class Improvement(Part):
    """Candidate less baseline, nDCG@10 in points of 1, paired by query, and its 95 % interval."""

    over: str
    change: float = Field(allow_inf_nan=False)
    relative: float = Field(allow_inf_nan=False, description="change / the baseline's mean")
    lower: float = Field(allow_inf_nan=False)
    upper: float = Field(allow_inf_nan=False)


class HeldOut(Part):
    """Mean nDCG@10 of queries that were not learned from, asked of the engine itself."""

    queries: int = Field(ge=0)
    ndcg_10: dict[str, float] = Field(description="by kind of weights")
    improvements: tuple[Improvement, ...] = ()


class Learned(Part):
    """What would have to be the same for these numbers to come out again, and what they are worth.

    `regularisers` were chosen by `cv_ndcg_10`, means over folds of the training queries.
    """

    kind: Literal["global", "per_type", "per_query"]
    tenant_id: str
    query_set: SetUsed
    label_set: SetUsed
    split: Literal["learn"] = "learn"
    queries: int = Field(ge=1, description="learned from: those with a relevant asset in the pool")
    snapshot_id: str
    fingerprints: dict[str, str] = Field(description="transforms of the snapshot, by axis")
    base: str = Field(description="version of the profile that was in force")
    base_digest: Digest
    code: str = Field(description="version, and digest of the sources that rank and learn")
    seed: int = Field(ge=0)
    folds: int = Field(ge=2)
    regularisers: dict[str, float | None] = Field(description="null: nothing was let move")
    cv_ndcg_10: dict[str, float]
    held_out: HeldOut | None = None
    command: str
    numbers: Digest = Field(description="digest of the profile when it was learned")
