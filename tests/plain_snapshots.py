"""Large snapshots without evidence: rows of vectors and a caption, with the product's own indices.

Written straight into the table that searching reads, since committing a hundred thousand envelopes
takes minutes. Nothing can be rebuilt from such a store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import lance
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ecm.contracts.identity import digest
from ecm.contracts.search import Axis
from ecm.evidence.generation import create_indices, search_schema, tag_version
from ecm.evidence.policy import SnapshotPolicy
from ecm.evidence.refs import SnapshotMeasurements, SnapshotRef, folder_of, write_ref
from ecm.evidence.store import EvidenceStore

TRANSFORM = digest("plain")
POLICY = SnapshotPolicy(transforms={Axis.VV: (TRANSFORM,), Axis.FTS: (TRANSFORM,)})
BATCH = 10_000

Vectors = npt.NDArray[np.float32]
Caption = Callable[[int], str]


def plain_id(tenant: str, number: int) -> str:
    """The asset id of a row of a tenant."""
    return hashlib.sha256(f"{tenant}/{number}".encode()).hexdigest()


def unit(values: npt.NDArray[Any]) -> Vectors:
    """Rows of length 1, float32."""
    return np.asarray(values / np.linalg.norm(values, axis=-1, keepdims=True), np.float32)


def clustered(
    rng: np.random.Generator, rows: int, centres: Vectors, spread: float
) -> Iterator[Vectors]:
    """Unit vectors around some centres, float32 (BATCH, d) at a time; `spread` 1: noise as long."""
    dim = centres.shape[1]
    for first in range(0, rows, BATCH):
        count = min(BATCH, rows - first)
        noise = rng.standard_normal((count, dim), dtype=np.float32) / np.sqrt(dim)
        yield unit(centres[rng.integers(0, len(centres), count)] + spread * noise)


def plain_snapshot(
    store: EvidenceStore,
    name: str,
    dim: int,
    tenants: Mapping[str, Iterable[Vectors]],
    caption: Caption = "picture {}".format,
) -> SnapshotRef:
    """A finished snapshot, not published, of the vectors (n, dim) of each tenant on vv."""
    snapshot_id = f"s-20260101T000000Z-{digest(name)[:8]}"
    location = f"{folder_of(snapshot_id)}/search_materialized.lance"
    schema, counts = search_schema({Axis.VV: dim}), dict.fromkeys(tenants, 0)

    def batches() -> Iterator[pa.RecordBatch]:
        for tenant, parts in tenants.items():
            for vectors in parts:
                first = counts[tenant]
                counts[tenant] += len(vectors)
                yield _batch(schema, tenant, range(first, counts[tenant]), vectors, caption)

    reader = pa.RecordBatchReader.from_batches(schema, batches())
    dataset = lance.write_dataset(reader, store.storage.location(location), schema=schema)
    create_indices(dataset, (Axis.VV,), store.config.vector_index_rows)
    tag_version(dataset, snapshot_id)
    ref = SnapshotRef(
        snapshot_id=snapshot_id,
        store_id=store.header.store_id,
        created_at=0.0,
        table=location,
        version=int(dataset.version),
        policy=POLICY,
        policy_digest=POLICY.digest(),
        transforms=dict.fromkeys((Axis.VV, Axis.FTS), (TRANSFORM,)),
        dims={Axis.VV: dim},
        assets=sum(counts.values()),
        tenants=counts,
        evidence_versions={},
        measurements=SnapshotMeasurements(
            coverage={}, indexed_rows={}, neighbours={}, superseded=0, seconds=0.0
        ),
    )
    write_ref(store, ref)
    return ref


def _batch(
    schema: pa.Schema, tenant: str, numbers: range, vectors: Vectors, caption: Caption
) -> pa.RecordBatch:
    count = len(numbers)
    ids = [plain_id(tenant, number) for number in numbers]
    given: dict[str, Any] = {
        "tenant_id": [tenant] * count,
        "asset_id": ids,
        "uris": [[f"file:///{tenant}/{number}.jpg"] for number in numbers],
        "name": [str(number) for number in numbers],
        "caption": [caption(number) for number in numbers],
        "caption_composed": [False] * count,
        "statements": [[]] * count,
        "vv": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]),
        "vv_evidence": [
            {"evidence_id": one, "run_id": "run", "transform": TRANSFORM} for one in ids
        ],
    }
    arrays = [
        pa.array(given[field.name], field.type)
        if field.name in given
        else pa.nulls(count, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
