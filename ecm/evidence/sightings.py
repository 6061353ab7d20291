"""Writing what a later look at a place found: rows of `asset_sightings`, each once.

The id of a row follows from the run, the place, its content and what was found, so that a run that
is killed while it writes, or writes again, leaves each row once. Knows no listing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from ecm.contracts.identity import digest
from ecm.evidence.committer import EvidenceCommitter, StillMine
from ecm.evidence.schema import ASSET_SIGHTINGS, Sighting, fixed_schema
from ecm.evidence.store import EvidenceStore


@dataclass(frozen=True, slots=True)
class Look:
    """Who looked: the run, whose places, and when (Unix seconds) it began."""

    tenant_id: str
    run_id: str
    at: float


def record_sightings(
    store: EvidenceStore,
    look: Look,
    state: Sighting,
    found: Iterable[pa.RecordBatch],
    still_mine: StillMine,
) -> int:
    """Append one row per place found in a state; how many places there were.

    `found` has uri, asset_id, size, mtime_ns, etag and may have `at`, the moment of that one look.
    Raises as `EvidenceCommitter.append`.
    """
    committer = EvidenceCommitter(store)
    places = 0
    for number, part in enumerate(found):
        rows = [
            {
                "sighting_id": digest(
                    ["sighting", look.tenant_id, look.run_id, state, row["uri"], row["asset_id"]]
                ),
                "tenant_id": look.tenant_id,
                "run_id": look.run_id,
                "batch_id": f"{look.run_id}-{state}-{number:06d}",
                "observed_at": row.pop("at", look.at),
                "state": state.value,
                **row,
            }
            for row in part.to_pylist()
        ]
        if rows:
            table = pa.Table.from_pylist(rows, schema=fixed_schema(ASSET_SIGHTINGS))
            batch_id = rows[0]["batch_id"]
            committer.append_rows(ASSET_SIGHTINGS, table, str(batch_id), still_mine)
            places += len(rows)
    return places
