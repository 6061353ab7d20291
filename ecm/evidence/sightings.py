"""What a later look at places found, as rows of `asset_sightings`, and how such rows are keyed.

The one place that builds them, whoever looked: a re-scan, a read that was asked for, or a relink.
Pure: no I/O, no clock, no Lance.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from ecm.contracts.identity import ContentIdentity, digest
from ecm.evidence.schema import ASSET_SIGHTINGS, Sighting, fixed_schema


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at a place: whose, which content it was or had been, and what was found.

    `identity` is what the place shows now, or for a place that is gone what it showed last;
    `observed_at` is in Unix seconds.
    """

    tenant_id: str
    asset_id: str
    state: Sighting
    identity: ContentIdentity
    observed_at: float


def sighting_key(seen: Seen) -> str:
    """The id of the row: the same look at the same place is one row however often it is told."""
    place = seen.identity
    return digest(
        [
            "sighting",
            seen.tenant_id,
            seen.asset_id,
            seen.state.value,
            *(place.uri, place.size, place.mtime_ns, place.etag),
            seen.observed_at,
        ]
    )


def sighting_rows(looks: Iterable[Seen], run_id: str, batch_id: str) -> pa.Table:
    """Rows for `EvidenceCommitter.append_rows`; the same look twice is one row."""
    rows = {
        sighting_key(seen): {
            "sighting_id": sighting_key(seen),
            "tenant_id": seen.tenant_id,
            "asset_id": seen.asset_id,
            "run_id": run_id,
            "batch_id": batch_id,
            "observed_at": seen.observed_at,
            "state": seen.state.value,
            **seen.identity.model_dump(),
        }
        for seen in looks
    }
    return pa.Table.from_pylist(list(rows.values()), schema=fixed_schema(ASSET_SIGHTINGS))
