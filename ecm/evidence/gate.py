"""Whether a snapshot may be published: what was measured, against limits. Arithmetic, no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from ecm.contracts.search import Axis
from ecm.evidence.policy import SnapshotLimits
from ecm.evidence.refs import Shortfall, SnapshotMeasurements, SnapshotRef

FEW: Final = 20
"""Assets of the published snapshot below which a share of it says nothing."""


def shortfalls(
    measured: SnapshotMeasurements,
    assets: int,
    asked: Mapping[Axis, object],
    limits: SnapshotLimits,
    published: SnapshotRef | None,
) -> tuple[Shortfall, ...]:
    """Every limit that a snapshot of so many assets breaks; empty when it may be published.

    `asked` has the axes the policy names transforms for: one it does not name is not missed.
    """
    found = [*_uncovered(measured, limits), *_unfound(measured, limits)]
    if published is not None and published.assets >= FEW:
        found += _lost(measured, assets, asked, limits, published)
    return tuple(found)


def _uncovered(measured: SnapshotMeasurements, limits: SnapshotLimits) -> Iterator[Shortfall]:
    for axis, limit in sorted(limits.min_coverage.items()):
        value = measured.coverage.get(axis.value, 0.0)
        if value < limit:
            yield Shortfall(
                measurement=f"coverage.{axis}",
                value=value,
                limit=limit,
                message=f"{axis} covers {value:.1%} of the assets, the limit is {limit:.1%}",
            )


def _unfound(measured: SnapshotMeasurements, limits: SnapshotLimits) -> Iterator[Shortfall]:
    sampled = {f"queries.{name}": share for name, share in measured.queries.items()}
    sampled |= {f"neighbours.{name}": share for name, share in measured.neighbours.items()}
    for name, value in sampled.items():
        if value < limits.min_found:
            yield Shortfall(
                measurement=name,
                value=value,
                limit=limits.min_found,
                message=f"{name}: {value:.1%} of a sample found their own asset, "
                f"the limit is {limits.min_found:.1%}",
            )


def _lost(
    measured: SnapshotMeasurements,
    assets: int,
    asked: Mapping[Axis, object],
    limits: SnapshotLimits,
    published: SnapshotRef,
) -> Iterator[Shortfall]:
    least = published.assets * (1 - limits.max_lost_assets)
    if assets < least:
        yield Shortfall(
            measurement="assets",
            value=assets,
            limit=least,
            message=f"{assets} assets, the published snapshot has {published.assets}, "
            f"the limit is {least:.0f}",
        )
    for axis in asked:
        was = published.measurements.coverage.get(axis.value, 0.0)
        value, limit = measured.coverage.get(axis.value, 0.0), was * (1 - limits.max_lost_coverage)
        if value < limit:
            yield Shortfall(
                measurement=f"coverage.{axis}",
                value=value,
                limit=limit,
                message=f"{axis} covers {value:.1%} of the assets, {was:.1%} in the published "
                f"snapshot, the limit is {limit:.1%}",
            )
