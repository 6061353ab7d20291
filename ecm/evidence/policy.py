"""What a snapshot shows, and how much of it there must be: policy and limits. No I/O, no clock.

Typed values only; how a policy is carried out is known to choice, how limits are applied to gate.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from ecm.contracts.identity import Contract, Digest, TenantId, digest
from ecm.contracts.search import Axis

SNAPSHOT_RECIPE: Final = "recipe-5"
"""Which columns a snapshot has and how they are made of evidence; a new recipe makes new snapshots
of the same evidence."""

Confidence = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Others = Literal["last", "never"]


class TenantPolicy(Contract):
    """What is different for the texts of one tenant; what is not named is as for everybody.

    `min_confidence` 0 takes a limit away that everybody else has.
    """

    transforms: dict[Axis, tuple[Digest, ...]] = Field(
        default_factory=dict, description="on fts: transforms preferred for this tenant's texts"
    )
    others: Others | None = None
    min_confidence: Confidence | None = None

    @model_validator(mode="after")
    def _texts_only(self) -> Self:
        wrong = sorted(axis.value for axis in self.transforms if axis is not Axis.FTS)
        if wrong:
            raise ValueError(
                f"a tenant cannot have transforms of its own on {', '.join(wrong)}: "
                "a snapshot has one transform per vector axis, for all tenants"
            )
        return self


class SnapshotPolicy(Contract):
    """Whose evidence a snapshot shows.

    `transforms` lists fingerprints in order of preference: on `fts` for texts, on vv, x and mv for
    vectors, of which a snapshot has one transform per axis: the first that has any. With `others`
    "last", texts of transforms not listed stand in where no listed one spoke, with "never" not;
    those of `apart` never do. Statements in words below `min_confidence` are left out; those
    without a confidence stay, since nothing is known against them. Evidence observed before
    `evidence_since` (Unix seconds) is left out, texts and vectors alike.
    """

    transforms: dict[Axis, tuple[Digest, ...]]
    others: Others = "last"
    apart: tuple[Digest, ...] = ()
    min_confidence: Confidence | None = None
    evidence_since: float | None = None
    tenants: dict[TenantId, TenantPolicy] = Field(default_factory=dict)

    def digest(self) -> str:
        """Of the policy and of the recipe by which it is carried out."""
        return digest([SNAPSHOT_RECIPE, self.model_dump(mode="json")])


class SnapshotLimits(Contract):
    """What a snapshot must measure up to before it is published.

    `max_lost` limits are relative to the snapshot that is published, and apply when that one has
    at least 20 assets: of fewer, shares say nothing. 1 takes a limit away.
    """

    min_coverage: dict[Axis, Share] = Field(
        default_factory=dict, description="least share of assets with evidence on an axis"
    )
    max_lost_coverage: Share = Field(
        default=0.5, description="share of an axis's coverage that may be lost to the one published"
    )
    max_lost_assets: Share = Field(
        default=0.5, description="share of the assets that may be lost to the one published"
    )
    min_found: Share = Field(
        default=0.75, description="share of sampled texts and vectors that find their own asset"
    )


class SnapshotConfig(Contract):
    """Settings of snapshots: which evidence they show beyond what the profile's models prefer.

    `max_age_days` leaves evidence out that is older, counted from the beginning of the day (UTC):
    snapshots of one day share a policy, and so can be built on one another. With `keep` whoever
    publishes collects what nobody needs beyond so many, as `ecm snapshots gc --keep` does: for
    services and runs that never give back the right to commit. Without, nothing is collected.
    """

    others: Others = "last"
    min_confidence: Confidence | None = None
    max_age_days: int | None = Field(default=None, ge=1, le=36_500)
    tenants: dict[TenantId, TenantPolicy] = Field(default_factory=dict)
    limits: SnapshotLimits = SnapshotLimits()
    keep: int | None = Field(default=None, ge=1, le=10_000)
