"""Snapshots: build, publish, list, roll back. A snapshot is an immutable choice of best evidence.

Knows the order in which things are written, so that a crash leaves either a whole snapshot or none.
How evidence is chosen, laid out and measured is known to building, choice, generation and measure.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from ecm.contracts.identity import digest
from ecm.crashpoints import crash_point
from ecm.errors import StoreCorrupt
from ecm.evidence import publication
from ecm.evidence.building import (
    Generation,
    Sources,
    Step,
    sources_of,
    way_to,
    write_anew,
    write_step,
)
from ecm.evidence.changes import Anew
from ecm.evidence.committer import StillMine, unquestioned
from ecm.evidence.gate import shortfalls
from ecm.evidence.generation import tag_version
from ecm.evidence.measure import (
    Sample,
    compare_vectors,
    coverage_of,
    indexed_rows,
    neighbours,
    queries,
)
from ecm.evidence.pins import is_condemned
from ecm.evidence.policy import SnapshotLimits, SnapshotPolicy
from ecm.evidence.refs import (
    SNAPSHOT_FORMAT_VERSION,
    SnapshotMeasurements,
    SnapshotRef,
    all_refs,
    folder_of,
    published_ref,
    write_ref,
)
from ecm.evidence.snapshot_files import files_of, write_files
from ecm.evidence.store import EvidenceStore

__all__ = ["SnapshotPolicy", "SnapshotRef", "SnapshotStore"]

_TABLE: Final = "search_materialized.lance"
_SEED: Final = 7
"""Of the samples that are measured: the same evidence is measured the same way."""
_DEFAULT: Final = SnapshotLimits()


@dataclass(frozen=True, slots=True)
class _Order:
    """What is to be built, from what, and under which limits."""

    policy: SnapshotPolicy
    sources: Sources
    now: float
    limits: SnapshotLimits
    still_mine: StillMine


class SnapshotStore:
    """The snapshots of one evidence store. One process builds at a time; any number may read."""

    def __init__(self, store: EvidenceStore) -> None:
        self._store = store

    def build(
        self,
        policy: SnapshotPolicy,
        now: float,
        limits: SnapshotLimits = _DEFAULT,
        still_mine: StillMine = unquestioned,
    ) -> SnapshotRef:
        """A finished snapshot of the evidence as it is now; not published yet.

        When a snapshot of the same policy shows the same evidence and measures up, that one is
        returned (the published one first) and nothing is written. Else it is built on the newest of
        the policy, by what changed since, or anew where that cannot be told or is not worth it. One
        that breaks limits has its shortfalls recorded and cannot be published by `publish`.
        `still_mine` is asked before anything is referred to.

        Raises StoreCorrupt when evidence cannot be read or the result is damaged,
        ResourceExhausted, StoreUnavailable, LeaseLost.
        """
        self._store.index_lookups()
        sources = sources_of(self._store, policy)
        # A collection that died may have left one condemned: it cannot be published any more.
        everything = self.list()
        refs = [ref for ref in everything if not is_condemned(self._store, ref.snapshot_id)]
        fit = [ref for ref in refs if not ref.measurements.shortfalls]
        existing = self._equal(policy, sources, fit)
        if existing is not None:
            return existing
        way = way_to(self._store, policy, sources, refs)
        if isinstance(way, Step) and not way.touched.assets.num_rows and way.base in fit:
            return way.base
        return self._built(way, _Order(policy, sources, now, limits, still_mine), everything)

    def build_anew(
        self,
        policy: SnapshotPolicy,
        now: float,
        limits: SnapshotLimits = _DEFAULT,
        still_mine: StillMine = unquestioned,
    ) -> SnapshotRef:
        """Like `build`, but from the evidence alone: for when the snapshots there are damaged."""
        self._store.index_lookups()
        sources = sources_of(self._store, policy)
        order = _Order(policy, sources, now, limits, still_mine)
        return self._built(Anew("it was asked for"), order, self.list())

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

    def _built(self, way: Step | Anew, order: _Order, refs: Collection[SnapshotRef]) -> SnapshotRef:
        began = time.monotonic()
        policy, sources = order.policy, order.sources
        taken = {ref.snapshot_id for ref in refs} | {ref.table.split("/")[1] for ref in refs}
        snapshot_id = _snapshot_id(policy, sources.versions(), order.now, taken)
        if isinstance(way, Step):
            try:
                made = write_step(self._store, way, policy, sources)
                return self._described(made, snapshot_id, order, began)
            except StoreCorrupt as error:
                # The evidence may be whole all the same; if not, building anew says so.
                reason = f"{way.base.snapshot_id} could not be built on: {error.message}"
        else:
            reason = way.reason
        folder = folder_of(snapshot_id)
        self._store.storage.remove(folder)
        made = write_anew(self._store, f"{folder}/{_TABLE}", policy, sources, reason)
        return self._described(made, snapshot_id, order, began)

    def _described(
        self, made: Generation, snapshot_id: str, order: _Order, began: float
    ) -> SnapshotRef:
        """Measure what was written and refer to it."""
        crash_point("snapshot.built")
        policy, sources = order.policy, order.sources
        measured = _measured(made, sources, began)
        assets = sum(made.tenants.values())
        short = shortfalls(measured, assets, policy.transforms, order.limits, self.published())
        order.still_mine()
        tag_version(made.dataset, snapshot_id)
        crash_point("snapshot.tagged")
        known = {} if made.base is None else files_of(self._store, made.base)
        sha256 = write_files(self._store, snapshot_id, made.location, made.dataset, known)
        ref = SnapshotRef(
            snapshot_id=snapshot_id,
            store_id=self._store.header.store_id,
            created_at=order.now,
            table=made.location,
            version=int(made.dataset.version),
            policy=policy,
            policy_digest=policy.digest(),
            transforms=sources.transforms(policy),
            dims=sources.dims(),
            assets=assets,
            tenants=dict(made.tenants),
            evidence_versions=sources.versions(),
            evidence=sources.state(),
            lineage=made.lineage,
            quarantines=sources.shut_out.ids,
            files_sha256=sha256,
            measurements=measured.model_copy(update={"shortfalls": short}),
        )
        order.still_mine()
        write_ref(self._store, ref)
        crash_point("snapshot.described")
        return ref

    def _equal(
        self, policy: SnapshotPolicy, sources: Sources, refs: Iterable[SnapshotRef]
    ) -> SnapshotRef | None:
        wanted = (policy.digest(), sources.versions(), set(sources.shut_out.ids))
        equal = [
            ref
            for ref in refs
            if (ref.policy_digest, ref.evidence_versions, set(ref.quarantines)) == wanted
        ]
        published = self.published()
        return published if published in equal else next(iter(equal), None)


def _measured(made: Generation, sources: Sources, began: float) -> SnapshotMeasurements:
    """What a finished generation is like. Raises StoreCorrupt when it is not what it should be."""
    sample = Sample(_SEED, made.added)
    compared = compare_vectors(made.dataset, sources.vectors, sample)
    return SnapshotMeasurements(
        coverage=coverage_of(made.dataset, sources.vectors),
        indexed_rows=indexed_rows(made.dataset),
        neighbours=neighbours(made.dataset, sources.vectors, sample),
        queries=queries(made.dataset, sample),
        vectors_compared=compared,
        superseded=made.superseded,
        quarantined=sources.shut_out.count(sources.datasets),
        seconds=time.monotonic() - began,
    )


def _snapshot_id(
    policy: SnapshotPolicy, versions: dict[str, int], now: float, taken: Collection[str]
) -> str:
    """The id that follows from what the snapshot is of, or one beside it if that is taken."""
    at = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    number = 0
    while True:
        what = [SNAPSHOT_FORMAT_VERSION, policy.digest(), versions, now, number]
        snapshot_id = f"s-{at}-{digest(what)[:8]}"
        if snapshot_id not in taken:
            return snapshot_id
        number += 1
