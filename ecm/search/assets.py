"""One asset with everything the store knows of it: facts, places, every run's statements.

Knows the evidence tables' columns; knows no query. The snapshot decides whether a tenant has the
asset at all; what is shown is more than what the snapshot chose.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from ecm.contracts.identity import Contract, Digest, TenantId
from ecm.contracts.result import Box
from ecm.contracts.search import EvidenceRef
from ecm.errors import QueryError
from ecm.evidence.asset_words import WordsInFile, words_in_file
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.regions import boxes
from ecm.evidence.schema import ASSET_VERSIONS, ASSETS, EVIDENCE_TEXT, TextKind, is_vector_table
from ecm.evidence.store import EvidenceStore, of_assets

_ORIGIN = ["evidence_id", "run_id", "transform"]


class AssetVersion(Contract):
    """A place where the bytes were seen: size in bytes, mtime or etag, when (Unix seconds, UTC)."""

    uri: str
    size: int
    mtime_ns: int | None = None
    etag: str | None = None
    observed_at: float


class StoredEvidence(EvidenceRef):
    """A statement of any run; `chosen` when the snapshot shows it.

    `box` is where in the upright picture the words stand, if that is known.
    """

    chosen: bool = False
    box: Box | None = None


class AssetView(Contract):
    """An asset: what decoding found, where it lies, and all that any run said about it."""

    snapshot_id: str
    tenant_id: TenantId
    asset_id: Digest
    uris: tuple[str, ...]
    width: int | None
    height: int | None
    format: str | None
    size: int | None = Field(description="bytes")
    orientation: int | None
    frames: int | None
    caption: str | None
    caption_composed: bool
    tags: tuple[str, ...]
    written: tuple[WordsInFile, ...] = Field(
        default=(), description="what stands in the file itself, and when it says it was taken"
    )
    versions: tuple[AssetVersion, ...]
    evidence: tuple[StoredEvidence, ...]


def asset_view(
    store: EvidenceStore, reader: SnapshotReader, tenant_id: str, asset_id: str
) -> AssetView:
    """The asset of a tenant. Raises QueryError `query.asset_unknown`, StoreCorrupt."""
    rows = reader.rows(tenant_id, [asset_id])
    if not rows:
        raise QueryError(f"no asset {asset_id} in this snapshot", "query.asset_unknown")
    row = rows[0]
    chosen = {said.evidence_id for said in row.statements}
    chosen |= {origin.evidence_id for origin in row.vectors.values()}
    facts = _facts(store, tenant_id, asset_id)
    return AssetView(
        snapshot_id=reader.ref.snapshot_id,
        tenant_id=tenant_id,
        asset_id=asset_id,
        uris=row.uris,
        width=row.width,
        height=row.height,
        format=row.format,
        size=facts.get("size"),
        orientation=facts.get("orientation"),
        frames=facts.get("frames"),
        caption=row.caption,
        caption_composed=row.caption_composed,
        tags=row.tags,
        written=words_in_file(store, tenant_id, asset_id),
        versions=_versions(store, tenant_id, asset_id),
        evidence=(
            *_texts(store, tenant_id, asset_id, chosen),
            *_vectors(store, tenant_id, asset_id, chosen),
        ),
    )


def _facts(store: EvidenceStore, tenant_id: str, asset_id: str) -> dict[str, Any]:
    columns = ["size", "orientation", "frames"]
    found = store.read(ASSETS, columns, of_assets(tenant_id, [asset_id])).to_pylist()
    return found[0] if found else {}


def _versions(store: EvidenceStore, tenant_id: str, asset_id: str) -> tuple[AssetVersion, ...]:
    columns = ["uri", "size", "mtime_ns", "etag", "observed_at"]
    found = store.read(ASSET_VERSIONS, columns, of_assets(tenant_id, [asset_id])).to_pylist()
    found.sort(key=lambda seen: (seen["observed_at"], seen["uri"]))
    return tuple(AssetVersion(**seen) for seen in found)


def _texts(
    store: EvidenceStore, tenant_id: str, asset_id: str, chosen: set[str]
) -> list[StoredEvidence]:
    if not store.has_table(EVIDENCE_TEXT):
        return []
    columns = [*_ORIGIN, "kind", "ordinal", "text", "confidence", "observed_at"]
    rows = store.read(EVIDENCE_TEXT, columns, of_assets(tenant_id, [asset_id])).to_pylist()
    where = boxes(store, of_assets(tenant_id, [asset_id]))
    rows.sort(key=lambda row: (-row["observed_at"], row["run_id"], row["kind"], row["ordinal"]))
    return [
        StoredEvidence(
            kind=row["kind"],
            text=row["text"],
            confidence=row["confidence"],
            chosen=row["evidence_id"] in chosen,
            box=where.get(row["evidence_id"]),
            **{name: row[name] for name in _ORIGIN},
        )
        for row in rows
        if row["kind"] != TextKind.NOTHING
    ]


def _vectors(
    store: EvidenceStore, tenant_id: str, asset_id: str, chosen: set[str]
) -> list[StoredEvidence]:
    found = []
    for name in filter(is_vector_table, store.tables()):
        space = name.split("_")[2]
        for row in store.read(name, _ORIGIN, of_assets(tenant_id, [asset_id])).to_pylist():
            found.append(
                StoredEvidence(
                    kind=f"vector.{space}",
                    confidence=None,
                    chosen=row["evidence_id"] in chosen,
                    **row,
                )
            )
    return found
