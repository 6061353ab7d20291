"""What a complete listing changes in the story of places: gone, back and moved, put on record.

A source that has lost much at once, or everything, is more likely unmounted than deleted: nothing
below it is marked, and it is named. Needs the right to commit. Knows no Ray and no command line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ecm.contracts.identity import ContentIdentity
from ecm.crashpoints import crash_point
from ecm.delivery.listed import ListedPlaces
from ecm.evidence.committer import EvidenceCommitter, StillMine
from ecm.evidence.places import Share, compared
from ecm.evidence.schema import ASSET_SIGHTINGS, Sighting
from ecm.evidence.sightings import Seen, sighting_rows
from ecm.evidence.store import EvidenceStore


@dataclass(frozen=True, slots=True)
class Look:
    """Who looked: the run, at whose places, and when (Unix seconds) the listing began."""

    tenant_id: str
    run_id: str
    at: float


@dataclass(frozen=True, slots=True)
class Rescanned:
    """Places by what a re-scan found.

    `gone`: not listed any more; `moved` of these have their content at a new place. `returned`:
    hold content again that lay there before. `problems` name sources of which nothing was marked.
    """

    gone: int = 0
    returned: int = 0
    moved: int = 0
    problems: tuple[str, ...] = ()


def rescan(
    store: EvidenceStore,
    listed: ListedPlaces,
    look: Look,
    max_gone_share: float,
    still_mine: StillMine,
    altered: Iterable[pa.RecordBatch] = (),
) -> Rescanned:
    """Compare a complete listing with the store and put on record what is gone and what is back.

    `look.at` is when the listing began; `max_gone_share` (of the places known below a source) may
    be lost, 1 takes every loss as it is. `altered` are places whose bytes were read and are others
    (rows as `ecm.delivery.verifying` has them), put on record with the rest. Repeatable: what is on
    record already is not found again.

    Raises ContractError for a listing that is not complete, LeaseLost, and as the store does.
    """
    with compared(store, look.tenant_id, listed.scopes(), listed.file, look.at) as found:
        held_back = [s for s in found.shares() if _is_suspect(s, max_gone_share)]
        found.withhold([share.source for share in held_back])
        moved = found.moved()
        gone = _record(store, look, Sighting.GONE, found.gone(), still_mine)
        crash_point("rescan.gone")
        _record(store, look, Sighting.PRESENT, found.back(), still_mine)
        _record(store, look, Sighting.ALTERED, altered, still_mine)
        crash_point("rescan.recorded")
        return Rescanned(gone, found.returned(), moved, tuple(_problems(held_back)))


def _record(
    store: EvidenceStore,
    look: Look,
    state: Sighting,
    found: Iterable[pa.RecordBatch],
    still_mine: StillMine,
) -> int:
    """Append one row per place found in a state; how many there were. Ids follow from the look."""
    committer = EvidenceCommitter(store)
    places = 0
    for number, part in enumerate(found):
        seen = [_seen(row, look, state) for row in part.to_pylist()]
        if seen:
            batch_id = f"{look.run_id}-{state.value}-{number:06d}"
            rows = sighting_rows(seen, look.run_id, batch_id)
            committer.append_rows(ASSET_SIGHTINGS, rows, batch_id, still_mine)
            places += len(seen)
    return places


def _seen(row: dict[str, Any], look: Look, state: Sighting) -> Seen:
    identity = ContentIdentity(
        uri=row["uri"], size=row["size"], mtime_ns=row["mtime_ns"], etag=row["etag"]
    )
    return Seen(look.tenant_id, row["asset_id"], state, identity, row.get("at", look.at))


def _is_suspect(share: Share, max_gone_share: float) -> bool:
    """Whether a scope has lost so much that it is more likely not to be mounted.

    What has moved is no loss, nor is what the listing has elsewhere, unless all of a scope is away.
    """
    if max_gone_share >= 1:
        return False
    if not share.listed:
        return share.left_behind > 0
    return share.nowhere > max_gone_share * share.known


def _problems(held_back: list[Share]) -> Iterator[str]:
    for share in held_back:
        yield (
            f"source {share.source}: {share.left_behind} of {share.known} known images are not "
            "there any more, which is more than pipeline.max_gone_share; none was marked as gone "
            "(is it mounted? if they are deleted, add --accept-gone)"
        )
