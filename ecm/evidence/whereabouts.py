"""Where a tenant's content lies by all that was ever said about places, in memory.

For whoever looks for content, not for a listing (see `places` for that). Reads two tables once;
knows no file system.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ecm.contracts.identity import ContentIdentity
from ecm.evidence.schema import ASSET_SIGHTINGS, ASSET_VERSIONS, Sighting
from ecm.evidence.sightings import Seen
from ecm.evidence.store import EvidenceStore, of_tenant

ROWS: Final = 50_000


@dataclass(frozen=True)
class Whereabouts:
    """What is known of a tenant's places: the newest word on each, and every version ever seen.

    `now` has, by URI, the asset, whether it lies there, and as what it was seen last. `by_identity`
    has what was last found behind every `ContentIdentity.key()`, `versions` all pairs of such a key
    and an asset that have a row, `sizes` every size in bytes.
    """

    now: dict[str, tuple[str, bool, ContentIdentity]]
    by_identity: dict[str, str]
    versions: frozenset[tuple[str, str]]
    sizes: frozenset[int]
    assets: frozenset[str]

    @classmethod
    def of(cls, store: EvidenceStore, tenant_id: str) -> Whereabouts:
        """Read everything ever said about the places of a tenant; some 500 bytes a place."""
        newest: dict[str, tuple[Any, ...]] = {}
        by_identity: dict[str, tuple[float, str]] = {}
        versions: set[tuple[str, str]] = set()
        sizes: set[int] = set()
        for row, state, key in _words(store, tenant_id):
            identity = ContentIdentity(
                uri=row["uri"], size=row["size"], mtime_ns=row["mtime_ns"], etag=row["etag"]
            )
            word = (row["observed_at"], row["mtime_ns"] or 0, row[key], row["asset_id"], state)
            if row["uri"] not in newest or word[:3] > newest[row["uri"]][:3]:
                newest[row["uri"]] = (*word, identity)
            name = identity.key()
            if state is not Sighting.GONE:
                mark = (row["observed_at"], row["asset_id"])
                by_identity[name] = max(by_identity.get(name, mark), mark)
            if key == "version_id":
                versions.add((name, row["asset_id"]))
                sizes.add(identity.size)
        return cls(
            now={uri: (w[3], w[4] is not Sighting.GONE, w[5]) for uri, w in newest.items()},
            by_identity={name: asset for name, (_, asset) in by_identity.items()},
            versions=frozenset(versions),
            sizes=frozenset(sizes),
            assets=frozenset(asset for _, asset in versions),
        )

    def holds_version(self, seen: Seen) -> bool:
        """Whether the content was seen there before, in this very version of the place."""
        return (seen.identity.key(), seen.asset_id) in self.versions


def _words(store: EvidenceStore, tenant_id: str) -> Iterator[tuple[dict[str, Any], Sighting, str]]:
    """Everything ever said about a tenant's places: the row, what it found, its key column."""
    columns = ["asset_id", "uri", "size", "mtime_ns", "etag", "observed_at"]
    where = of_tenant(tenant_id)
    if store.has_table(ASSET_VERSIONS):
        table = store.read(ASSET_VERSIONS, [*columns, "version_id"], where)
        for batch in table.to_batches(ROWS):
            for row in batch.to_pylist():
                yield row, Sighting.PRESENT, "version_id"
    if store.has_table(ASSET_SIGHTINGS):
        table = store.read(ASSET_SIGHTINGS, [*columns, "state", "sighting_id"], where)
        for batch in table.to_batches(ROWS):
            for row in batch.to_pylist():
                yield row, Sighting(row["state"]), "sighting_id"
