"""Policies and limits of snapshots: what they refuse, and what the gate makes of measurements."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ecm.config import load_profile
from ecm.contracts.identity import digest
from ecm.contracts.search import Axis
from ecm.errors import ConfigError
from ecm.evidence.gate import FEW, shortfalls
from ecm.evidence.policy import SnapshotLimits, SnapshotPolicy, TenantPolicy
from ecm.evidence.refs import SnapshotMeasurements, SnapshotRef

ASKED = {Axis.VV: (digest("vv"),), Axis.FTS: (digest("vision"),)}


def measured(**changes: Any) -> SnapshotMeasurements:
    values = {"coverage": {"vv": 1.0, "fts": 1.0}, "indexed_rows": {}, "neighbours": {}}
    return SnapshotMeasurements(**{**values, "superseded": 0, "seconds": 1.0, **changes})


def published(assets: int, **changes: Any) -> SnapshotRef:
    policy = SnapshotPolicy(transforms=ASKED)
    return SnapshotRef(
        snapshot_id="s-20260101T000000Z-00000000",
        store_id="store",
        created_at=0.0,
        table="snapshots/s/t.lance",
        version=1,
        policy=policy,
        policy_digest=policy.digest(),
        transforms={},
        dims={},
        assets=assets,
        tenants={},
        evidence_versions={},
        measurements=measured(**changes),
    )


def test_a_tenant_has_no_vectors_of_its_own() -> None:
    assert TenantPolicy(transforms={Axis.FTS: (digest("a"),)}).others is None
    with pytest.raises(ValidationError, match="one transform per vector axis, for all tenants"):
        TenantPolicy(transforms={Axis.VV: (digest("a"),)})


def test_every_part_of_a_policy_makes_another_snapshot() -> None:
    plain = SnapshotPolicy(transforms=ASKED)
    others = [
        {"others": "never"},
        {"min_confidence": 0.5},
        {"evidence_since": 1.0},
        {"apart": (digest("a"),)},
        {"tenants": {"t": TenantPolicy(min_confidence=0)}},
    ]
    made = [SnapshotPolicy(transforms=ASKED, **other) for other in others]  # type: ignore[arg-type]
    assert len({policy.digest() for policy in (plain, *made)}) == 6


def test_a_profile_sets_policy_and_limits() -> None:
    lines = (
        "snapshots.min_confidence=0.3",
        "snapshots.max_age_days=30",
        'snapshots.tenants={"acme": {"min_confidence": 0.6}}',
        "snapshots.limits.max_lost_assets=0.1",
    )
    profile = load_profile(None, overrides=lines, environ={})
    assert profile.snapshots.tenants["acme"].min_confidence == 0.6
    assert profile.snapshots.limits.max_lost_assets == 0.1
    wrong = f'snapshots.tenants={{"acme": {{"transforms": {{"vv": ["{digest("a")}"]}}}}}}'
    with pytest.raises(ConfigError, match="one transform per vector axis"):
        load_profile(None, overrides=[wrong], environ={})


@pytest.mark.parametrize(
    ("now", "assets", "limits", "before", "broken"),
    [
        (measured(), 5, SnapshotLimits(), None, []),
        (measured(coverage={}), 0, SnapshotLimits(), None, []),
        (measured(coverage={}), 0, SnapshotLimits(), published(FEW - 1), []),
        (measured(), 9, SnapshotLimits(), published(FEW), ["assets"]),
        (measured(), 10, SnapshotLimits(), published(FEW), []),
        (measured(), 9, SnapshotLimits(max_lost_assets=1), published(FEW), []),
        (measured(coverage={"fts": 1.0}), 40, SnapshotLimits(), published(FEW), ["coverage.vv"]),
        (
            measured(coverage={"vv": 0.3, "fts": 1.0}),
            40,
            SnapshotLimits(),
            published(FEW, coverage={"vv": 0.5}),
            [],
        ),
        (
            measured(coverage={"vv": 0.3}),
            40,
            SnapshotLimits(min_coverage={Axis.VV: 0.4, Axis.X: 0.0}),
            None,
            ["coverage.vv"],
        ),
        (measured(queries={"tags": 0.5, "name": 0.9}), 5, SnapshotLimits(), None, ["queries.tags"]),
        (measured(neighbours={"vv": 0.7}), 5, SnapshotLimits(), None, ["neighbours.vv"]),
        (measured(neighbours={"vv": 0.7}), 5, SnapshotLimits(min_found=0.7), None, []),
    ],
)
def test_the_gate_names_every_limit_that_is_broken(
    now: SnapshotMeasurements,
    assets: int,
    limits: SnapshotLimits,
    before: SnapshotRef | None,
    broken: list[str],
) -> None:
    found = shortfalls(now, assets, ASKED, limits, before)
    assert [short.measurement for short in found] == broken
    assert all("limit" in short.message and "\n" not in short.message for short in found)
