"""Snapshots: build, publish, list, roll back. A snapshot is an immutable choice of best evidence.

Knows the order in which things are written, so that a crash leaves either a whole snapshot or none.
How evidence is chosen, laid out and measured is known to choice, generation and measure.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Final

from ecm.contracts.identity import digest
from ecm.contracts.result import Space
from ecm.contracts.search import Axis
from ecm.crashpoints import crash_point
from ecm.errors import StoreCorrupt
from ecm.evidence import publication
from ecm.evidence.choice import chosen
from ecm.evidence.generation import create_indices, dim_of, write_generation
from ecm.evidence.measure import check_vectors, coverage_of, indexed_rows, neighbours
from ecm.evidence.policy import SnapshotPolicy
from ecm.evidence.refs import (
    SNAPSHOT_FORMAT_VERSION,
    VECTOR_AXES,
    SnapshotMeasurements,
    SnapshotRef,
    all_refs,
    folder_of,
    published_ref,
    write_ref,
)
from ecm.evidence.schema import ASSET_VERSIONS, ASSETS, EVIDENCE_TEXT, vector_table
from ecm.evidence.store import EvidenceStore

__all__ = ["SnapshotPolicy", "SnapshotRef", "SnapshotStore"]

_TABLE: Final = "search_materialized.lance"
_SEED: Final = 7
"""Of the samples that are measured: the same evidence is measured the same way."""


class SnapshotStore:
    """The snapshots of one evidence store. One process builds at a time; any number may read."""

    def __init__(self, store: EvidenceStore) -> None:
        self._store = store

    def build(self, policy: SnapshotPolicy, now: float) -> SnapshotRef:
        """A finished snapshot of the evidence as it is now; not published yet.

        When a snapshot of the same policy over the same table versions exists, that one is
        returned (the published one first) and nothing is written. Raises StoreCorrupt when evidence
        cannot be read or the result does not measure up, ResourceExhausted, StoreUnavailable.
        """
        self._store.index_lookups()
        datasets, vectors = self._sources(policy)
        versions = _versions(datasets)
        existing = self._equal(policy, versions)
        if existing is not None:
            return existing
        ref = self._written(_snapshot_id(policy, versions, now), policy, datasets, vectors, now)
        crash_point("snapshot.built")
        write_ref(self._store, ref)
        crash_point("snapshot.described")
        return ref

    def publish(self, snapshot_id: str, now: float) -> SnapshotRef:
        """Serve this snapshot from now on; what was served is kept for `rollback`.

        Raises SnapshotNotFound, or StoreCorrupt when its table cannot be opened.
        """
        return publication.publish(self._store, snapshot_id, now)

    def published(self) -> SnapshotRef | None:
        """The snapshot that is served, or None. Raises StoreCorrupt, SnapshotNotFound."""
        return published_ref(self._store)

    def list(self) -> tuple[SnapshotRef, ...]:
        """Every finished snapshot, newest first."""
        return all_refs(self._store)

    def rollback(self, now: float, to: str | None = None) -> SnapshotRef:
        """Serve what was published before the present snapshot; again goes back further.

        Raises SnapshotNotFound when nothing was, StoreCorrupt when its table cannot be opened.
        """
        return publication.rollback(self._store, now, to)

    def _written(
        self,
        snapshot_id: str,
        policy: SnapshotPolicy,
        datasets: dict[str, Any],
        vectors: dict[Axis, Any],
        now: float,
    ) -> SnapshotRef:
        """Write and measure a generation; the reference that would make it a snapshot."""
        began = time.monotonic()
        location = f"{folder_of(snapshot_id)}/{_TABLE}"
        self._store.storage.remove(folder_of(snapshot_id))
        with chosen(policy, datasets, vectors) as choice:
            dataset = write_generation(self._store, location, choice, vectors)
            superseded, tenants = choice.superseded(), choice.tenants()
        create_indices(dataset, tuple(vectors), self._store.config.vector_index_rows)
        dataset = self._store.open_lance(location)
        if sum(tenants.values()) != dataset.count_rows():
            raise StoreCorrupt(f"snapshot {snapshot_id} has lost rows", hint="build it again")
        return SnapshotRef(
            snapshot_id=snapshot_id,
            store_id=self._store.header.store_id,
            created_at=now,
            table=location,
            version=int(dataset.version),
            policy=policy,
            policy_digest=policy.digest(),
            transforms=_transforms(policy, vectors),
            dims={axis: dim_of(source) for axis, source in vectors.items()},
            assets=sum(tenants.values()),
            tenants=tenants,
            evidence_versions=_versions(datasets),
            measurements=_measured(dataset, vectors, superseded, began),
        )

    def _sources(self, policy: SnapshotPolicy) -> tuple[dict[str, Any], dict[Axis, Any]]:
        """The tables a snapshot is made of, pinned at their present versions."""
        names = [n for n in (ASSETS, ASSET_VERSIONS, EVIDENCE_TEXT) if self._store.has_table(n)]
        datasets = {name: self._store.dataset(name) for name in names}
        vectors: dict[Axis, Any] = {}
        for axis in VECTOR_AXES:
            for transform in policy.transforms.get(axis, ()):
                name = vector_table(Space(axis.value), transform)
                if self._store.has_table(name) and self._store.dataset(name).count_rows():
                    datasets[name] = vectors[axis] = self._store.dataset(name)
                    break
        return datasets, vectors

    def _equal(self, policy: SnapshotPolicy, versions: dict[str, int]) -> SnapshotRef | None:
        wanted = (policy.digest(), versions)
        equal = [r for r in self.list() if (r.policy_digest, r.evidence_versions) == wanted]
        published = self.published()
        return published if published in equal else next(iter(equal), None)


def _measured(
    dataset: Any, vectors: dict[Axis, Any], superseded: int, began: float
) -> SnapshotMeasurements:
    """What a finished generation is like. Raises StoreCorrupt when it is not what it should be."""
    check_vectors(dataset, vectors, _SEED)
    return SnapshotMeasurements(
        coverage=coverage_of(dataset, vectors),
        indexed_rows=indexed_rows(dataset),
        neighbours=neighbours(dataset, vectors, _SEED),
        superseded=superseded,
        seconds=time.monotonic() - began,
    )


def _versions(datasets: dict[str, Any]) -> dict[str, int]:
    return {name: int(dataset.version) for name, dataset in datasets.items()}


def _snapshot_id(policy: SnapshotPolicy, versions: dict[str, int], now: float) -> str:
    at = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"s-{at}-{digest([SNAPSHOT_FORMAT_VERSION, policy.digest(), versions, now])[:8]}"


def _transforms(policy: SnapshotPolicy, vectors: dict[Axis, Any]) -> dict[Axis, tuple[str, ...]]:
    """The one transform behind each vector axis, and those preferred for texts."""
    found = {
        axis: (dataset.schema.metadata[b"ecm.transform"].decode(),)
        for axis, dataset in vectors.items()
    }
    return {**found, Axis.FTS: policy.transforms.get(Axis.FTS, ())}
