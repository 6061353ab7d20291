"""What one snapshot shows that another does not: assets, texts, places and vectors, by tenant.

Streams columns of both through DuckDB, which keeps digests of texts and may spill to disk, so that
memory is bounded; vectors are compared by the evidence they are, which never changes. Knows nothing
of how snapshots are chosen.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal

import duckdb
import pyarrow as pa
from pydantic import Field

from ecm.contracts.identity import Contract, TenantId
from ecm.contracts.search import Axis
from ecm.evidence.choice import ROWS_PER_BATCH, duck_errors
from ecm.evidence.faults import lance_errors
from ecm.evidence.reader import SnapshotReader, SnapshotRow
from ecm.evidence.refs import VECTOR_AXES, SnapshotRef
from ecm.evidence.store import EvidenceStore, of_tenant

FIELDS: Final = ("caption", "tags", "classification", "ocr", "uris")
_MEMORY: Final = "1GB"
_SIDE: Final = """
CREATE TEMP TABLE {side} AS SELECT tenant_id, asset_id,
    hash(caption) AS caption, hash(tags) AS tags, hash(classification) AS classification,
    hash(ocr) AS ocr, hash(uris) AS uris, hash(vv) AS vv, hash(x) AS x, hash(mv) AS mv,
    vv IS NOT NULL AS has_vv, x IS NOT NULL AS has_x, mv IS NOT NULL AS has_mv
FROM source
"""
_COMPARED: Final = """
CREATE TEMP TABLE compared AS SELECT *,
    caption_differs OR tags_differs OR classification_differs OR ocr_differs OR uris_differs
        AS told,
    told OR vv_replaced OR vv_gained OR vv_lost OR x_replaced OR x_gained OR x_lost
        OR mv_replaced OR mv_gained OR mv_lost AS changed
FROM (
    SELECT tenant_id, asset_id, old.caption IS NULL AS added, new.caption IS NULL AS removed,
        NOT added AND NOT removed AS common,
        common AND old.caption <> new.caption AS caption_differs,
        common AND old.tags <> new.tags AS tags_differs,
        common AND old.classification <> new.classification AS classification_differs,
        common AND old.ocr <> new.ocr AS ocr_differs,
        common AND old.uris <> new.uris AS uris_differs,
        common AND old.has_vv AND new.has_vv AND old.vv <> new.vv AS vv_replaced,
        common AND NOT old.has_vv AND new.has_vv AS vv_gained,
        common AND old.has_vv AND NOT new.has_vv AS vv_lost,
        common AND old.has_x AND new.has_x AND old.x <> new.x AS x_replaced,
        common AND NOT old.has_x AND new.has_x AS x_gained,
        common AND old.has_x AND NOT new.has_x AS x_lost,
        common AND old.has_mv AND new.has_mv AND old.mv <> new.mv AS mv_replaced,
        common AND NOT old.has_mv AND new.has_mv AS mv_gained,
        common AND old.has_mv AND NOT new.has_mv AS mv_lost
    FROM old FULL JOIN new USING (tenant_id, asset_id)
)
"""
_TENANTS: Final = """
SELECT tenant_id, count(*) FILTER (NOT added), count(*) FILTER (NOT removed),
    count(*) FILTER (added), count(*) FILTER (removed), count(*) FILTER (changed)
FROM compared GROUP BY tenant_id ORDER BY tenant_id
"""
_EXAMPLES: Final = """
SELECT tenant_id, asset_id,
    caption_differs, tags_differs, classification_differs, ocr_differs, uris_differs
FROM compared
WHERE {which} ORDER BY tenant_id, asset_id LIMIT $limit
"""
_KINDS: Final[dict[Literal["added", "removed", "changed"], str]] = {
    "changed": "told",
    "added": "added",
    "removed": "removed",
}


class Side(Contract):
    snapshot_id: str
    created_at: float = Field(description="Unix seconds (UTC)")
    assets: int


class AxisChange(Contract):
    """An axis before and after: by which transforms, and how many vectors became others."""

    before: tuple[str, ...]
    after: tuple[str, ...]
    replaced: int = 0
    gained: int = 0
    lost: int = 0


class TenantChange(Contract):
    """Assets of a tenant. `changed`: some text, place or vector of an asset in both differs."""

    before: int
    after: int
    added: int
    removed: int
    changed: int


class Told(Contract):
    """What one snapshot shows of an asset in words."""

    caption: str | None
    tags: tuple[str, ...]
    classification: tuple[str, ...]
    ocr: str | None
    uris: tuple[str, ...]


class Example(Contract):
    kind: Literal["added", "removed", "changed"]
    tenant_id: TenantId
    asset_id: str
    fields: tuple[str, ...] = Field(description="which of them differ")
    before: Told | None
    after: Told | None


class Difference(Contract):
    before: Side
    after: Side
    axes: dict[Axis, AxisChange]
    fields: dict[str, int] = Field(description="assets in both whose text or places differ")
    tenants: dict[TenantId, TenantChange]
    examples: tuple[Example, ...]


def difference(
    store: EvidenceStore,
    before: SnapshotRef,
    after: SnapshotRef,
    tenant_id: str | None,
    limit: int,
) -> Difference:
    """Compare two snapshots for one tenant, or for all of them (None).

    `limit` examples are shown of each kind. Raises StoreCorrupt when one of them cannot be read,
    ContractError for a malformed tenant, ResourceExhausted.
    """
    readers = SnapshotReader.open(store, before), SnapshotReader.open(store, after)
    with _duck() as duck:
        for side, ref in (("old", before), ("new", after)):
            _load(duck, store, side, ref, tenant_id)
        with duck_errors("comparing snapshots"):
            duck.execute(_COMPARED)
            return Difference(
                before=_side(before, tenant_id),
                after=_side(after, tenant_id),
                axes=_axes(duck, before, after),
                fields={field: _count(duck, f"{field}_differs") for field in FIELDS},
                tenants=_tenants(duck),
                examples=tuple(_examples(duck, readers, limit)),
            )


@contextmanager
def _duck() -> Iterator[Any]:
    with tempfile.TemporaryDirectory(prefix="ecm-diff-") as folder, duckdb.connect() as duck:
        with duck_errors("comparing snapshots"):
            duck.execute("SET temp_directory = $folder", {"folder": folder})
            duck.execute(f"SET memory_limit = '{_MEMORY}'")
        yield duck


def _load(
    duck: Any, store: EvidenceStore, side: str, ref: SnapshotRef, tenant_id: str | None
) -> None:
    """Digests of one snapshot's columns; an axis it does not have is null throughout."""
    dataset = store.open_lance(ref.table, ref.version)
    columns = {name: name for name in ("tenant_id", "asset_id", *FIELDS)}
    there = [axis for axis in VECTOR_AXES if f"{axis}_evidence" in dataset.schema.names]
    columns |= {axis.value: f"{axis}_evidence.evidence_id" for axis in there}
    with lance_errors(f"cannot read snapshot {ref.snapshot_id}"):
        reader = dataset.scanner(
            columns=columns,
            filter=None if tenant_id is None else of_tenant(tenant_id),
            batch_size=ROWS_PER_BATCH,
        ).to_reader()
    absent = [axis.value for axis in VECTOR_AXES if axis not in there]
    with duck_errors("comparing snapshots"):
        duck.register("source", _with_nulls(reader, absent))
        duck.execute(_SIDE.format(side=side))
        duck.unregister("source")


def _with_nulls(reader: pa.RecordBatchReader, absent: Sequence[str]) -> pa.RecordBatchReader:
    schema = reader.schema
    for name in absent:
        schema = schema.append(pa.field(name, pa.string()))

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            nulls = [pa.nulls(batch.num_rows, pa.string()) for _ in absent]
            yield pa.RecordBatch.from_arrays([*batch.columns, *nulls], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _side(ref: SnapshotRef, tenant_id: str | None) -> Side:
    assets = ref.assets if tenant_id is None else ref.tenants.get(tenant_id, 0)
    return Side(snapshot_id=ref.snapshot_id, created_at=ref.created_at, assets=assets)


def _axes(duck: Any, before: SnapshotRef, after: SnapshotRef) -> dict[Axis, AxisChange]:
    changes = {}
    for axis in Axis:
        counts = {}
        if axis in VECTOR_AXES:
            kinds = ("replaced", "gained", "lost")
            counts = {kind: _count(duck, f"{axis}_{kind}") for kind in kinds}
        old, new = before.transforms.get(axis, ()), after.transforms.get(axis, ())
        changes[axis] = AxisChange(before=old, after=new, **counts)
    return changes


def _count(duck: Any, column: str) -> int:
    found = duck.execute(f"SELECT count(*) FROM compared WHERE {column}")  # noqa: S608 - our own
    return int(found.fetchone()[0])


def _tenants(duck: Any) -> dict[str, TenantChange]:
    names = ("before", "after", "added", "removed", "changed")
    return {
        tenant_id: TenantChange(**dict(zip(names, counts, strict=True)))
        for tenant_id, *counts in duck.execute(_TENANTS).fetchall()
    }


def _examples(
    duck: Any, readers: tuple[SnapshotReader, SnapshotReader], limit: int
) -> Iterator[Example]:
    for kind, which in _KINDS.items():
        query = _EXAMPLES.format(which=which)
        for tenant_id, asset_id, *flags in duck.execute(query, {"limit": limit}).fetchall():
            old, new = (_told(reader.rows(tenant_id, [asset_id])) for reader in readers)
            yield Example(
                kind=kind,
                tenant_id=tenant_id,
                asset_id=asset_id,
                fields=tuple(f for f, differs in zip(FIELDS, flags, strict=True) if differs),
                before=old,
                after=new,
            )


def _told(rows: list[SnapshotRow]) -> Told | None:
    if not rows:
        return None
    row = rows[0]
    return Told(
        caption=row.caption,
        tags=row.tags,
        classification=row.classification,
        ocr=row.ocr,
        uris=row.uris,
    )
