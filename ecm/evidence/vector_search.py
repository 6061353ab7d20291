"""Searching the vectors of a snapshot, always inside one tenant: exactly, or through the index.

Knows which way is taken and that no way may return fewer rows than there are. Whichever it is, the
scores are cosines in float64 of the stored vectors, rounded. Knows no words.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from math import ceil
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecm.contracts.search import Axis
from ecm.errors import AxisUnavailable, QueryError
from ecm.evidence.allowed import Allowed
from ecm.evidence.byte_cache import ByteCache
from ecm.evidence.faults import lance_errors
from ecm.evidence.matrix import (
    Cosine,
    Scored,
    TenantMatrix,
    Vector,
    assembled,
    best_of,
    scores_of,
)
from ecm.evidence.ordered_ids import ID_BYTES, OrderedIds
from ecm.evidence.recall import RecallMeter
from ecm.evidence.refs import VECTOR_AXES, SnapshotRef
from ecm.evidence.store import of_assets, of_tenant
from ecm.evidence.tenant_rows import TenantRows

SPARE: Final = 32
"""Neighbours asked for beyond the limit, so that ties at the end are cut by asset id."""
FEW: Final = 4096
"""Up to so many allowed assets of a large tenant are read and scored exactly."""
MOST: Final = 8192
"""Neighbours the index is asked for at most, when what is allowed is looked for among them."""
PROBES: Final = 20
"""Partitions that are looked at, at least."""
LOOKED_AT: Final = 100_000
"""Vectors of a tenant that are looked at, at least: the fewer it has, the more partitions its
nearest ones lie in."""
READ_AT_ONCE: Final = 4096
"""Allowed assets whose vectors are read at once, when the index did not find enough of them."""


class VectorSearch:
    """The vectors of one opened snapshot. Thread-safe.

    Args:
        dataset: the Lance table.
        ref: the snapshot.
        partitions: of the vector index of each axis that has one for every row.
        exact_rows: tenants up to this many assets are searched from memory, if they fit.
        cache_bytes: of matrices kept in memory.
        rows: the rows of a tenant.
        recall: what the index finds is held against, and how hard it is to look.
    """

    def __init__(
        self,
        dataset: Any,
        ref: SnapshotRef,
        partitions: Mapping[Axis, int],
        exact_rows: int,
        cache_bytes: int,
        rows: Callable[[str], TenantRows],
        recall: RecallMeter,
    ) -> None:
        self._dataset = dataset
        self._ref = ref
        self._partitions = partitions
        self._exact_rows = exact_rows
        self._cache_bytes = cache_bytes
        self._rows = rows
        self._recall = recall
        self._cache: ByteCache[TenantMatrix] = ByteCache(cache_bytes)

    def is_exact(self, tenant_id: str) -> bool:
        """Whether the tenant is searched from memory: small enough, and its vectors fit in there.

        Those of a snapshot without an index of vectors always are.
        """
        assets = self._ref.tenants.get(tenant_id, 0)
        if assets > self._exact_rows:
            return False
        size = assets * (4 * sum(self._ref.dims.values()) + ID_BYTES)
        return size <= self._cache_bytes or not self._partitions

    def loaded(self) -> tuple[tuple[str, Axis], ...]:
        """Tenants and axes whose matrices are in memory or on their way there."""
        held = frozenset(self._cache.keys())
        every = ((tenant_id, axis) for tenant_id in self._ref.tenants for axis in VECTOR_AXES)
        return tuple(each for each in every if each in held)

    def matrix(self, tenant_id: str, axis: Axis) -> TenantMatrix:
        """All vectors of a tenant on an axis, from the cache or read into it."""
        where = of_tenant(tenant_id)
        if tenant_id not in self._ref.tenants:
            return assembled(OrderedIds(()), (), self._ref.dims[axis])
        return self._cache.get(
            (tenant_id, axis), lambda: self._read(axis, where, self._rows(tenant_id).ids)
        )

    def best(
        self, tenant_id: str, axis: Axis, query: Vector, limit: int, allowed: Allowed | None
    ) -> Scored:
        """The best (asset id, cosine) of what is allowed, best first, ties by asset id."""
        unit = self._unit(axis, query)
        if self.is_exact(tenant_id):
            matrix = self.matrix(tenant_id, axis)
            chosen = None if allowed is None else matrix.ids.chosen(allowed)
            return best_of(Cosine(matrix, unit), limit, chosen)
        if axis not in self._partitions:
            raise AxisUnavailable(
                f"{axis}: the vector index is missing or does not hold every row",
                code=f"axis.{axis.value}",
                hint="build a new snapshot",
            )
        if allowed is not None:
            return self._best_allowed(tenant_id, axis, unit, limit, allowed)
        found = self._through_index(tenant_id, axis, unit, limit)
        self._recall.sample(
            axis, found, lambda count: self._flat(tenant_id, axis, unit, min(count, limit))
        )
        return found

    def scores(
        self, tenant_id: str, axis: Axis, query: Vector, asset_ids: Collection[str]
    ) -> dict[str, float]:
        """The scores, as `best` gives them, of those of some assets that have a vector."""
        unit = self._unit(axis, query)
        return scores_of(Cosine(self._holding(tenant_id, axis, asset_ids), unit), asset_ids)

    def vectors_of(
        self, tenant_id: str, axis: Axis, asset_ids: Collection[str]
    ) -> dict[str, Vector]:
        """The vectors, float32 (d,), of those of some assets that have one."""
        matrix = self._holding(tenant_id, axis, asset_ids)
        found = {asset_id: matrix.vector(asset_id) for asset_id in asset_ids}
        return {asset_id: vector for asset_id, vector in found.items() if vector is not None}

    def _holding(self, tenant_id: str, axis: Axis, asset_ids: Collection[str]) -> TenantMatrix:
        """A matrix that holds the vectors of some assets at least."""
        where = of_assets(tenant_id, asset_ids)
        if self.is_exact(tenant_id):
            return self.matrix(tenant_id, axis)
        return self._read(axis, where, OrderedIds(frozenset(asset_ids)))

    def _best_allowed(
        self, tenant_id: str, axis: Axis, unit: Vector, limit: int, allowed: Allowed
    ) -> Scored:
        """Looks among more neighbours, the rarer what is allowed; at last at all that is allowed.

        Of few allowed assets the vectors are read at once. Allowed assets among the nearest k of
        all are the nearest allowed ones, so enough of them are the answer.
        """
        if len(allowed) > FEW:
            share = len(allowed) / max(1, self._ref.tenants.get(tenant_id, 0))
            count = int(1.5 * limit / max(share, 1e-9)) + SPARE
            if count <= MOST:
                near = self._through_index(tenant_id, axis, unit, count)
                found = [pair for pair in near if pair[0] in allowed]
                if len(found) >= limit:
                    return found[:limit]
        best: Scored = []
        for start in range(0, len(allowed), READ_AT_ONCE):
            part = allowed.asset_ids[start : start + READ_AT_ONCE]
            matrix = self._read(axis, of_assets(tenant_id, part), OrderedIds(part))
            best += best_of(Cosine(matrix, unit), limit)
            best = sorted(best, key=lambda pair: (-pair[1], pair[0]))[:limit]
        return best

    def _through_index(self, tenant_id: str, axis: Axis, unit: Vector, limit: int) -> Scored:
        share = max(self._recall.look(axis), LOOKED_AT / self._ref.tenants[tenant_id])
        probes = min(self._partitions[axis], max(PROBES, ceil(share * self._partitions[axis])))
        how = {"minimum_nprobes": probes, "search_effort": 0.0}  # no more until they are too few
        found = self._nearest(tenant_id, axis, unit, limit, how)
        return found if len(found) >= limit else self._flat(tenant_id, axis, unit, limit)

    def _flat(self, tenant_id: str, axis: Axis, unit: Vector, limit: int) -> Scored:
        return self._nearest(tenant_id, axis, unit, limit, {"use_index": False})

    def _nearest(
        self, tenant_id: str, axis: Axis, unit: Vector, limit: int, how: Mapping[str, object]
    ) -> Scored:
        """The nearest as Lance finds them, scored again from their vectors."""
        nearest = {"column": axis.value, "q": unit, "k": limit + SPARE, "metric": "cosine", **how}
        with lance_errors(f"cannot search {axis} of snapshot {self._ref.snapshot_id}"):
            table = self._dataset.scanner(
                columns=["asset_id", axis.value, "_distance"],
                nearest=nearest,
                filter=of_tenant(tenant_id),
                prefilter=True,
            ).to_table()
            ids = OrderedIds(table["asset_id"].to_pylist())
            parts = (_vectors_in(part, axis, self._ref.dims[axis]) for part in table.to_batches())
            return best_of(Cosine(assembled(ids, parts, self._ref.dims[axis]), unit), limit)

    def _unit(self, axis: Axis, query: Vector) -> Vector:
        expected = (self._ref.dims[axis],)
        if query.shape != expected:
            raise AxisUnavailable(
                f"{axis}: the query has shape {query.shape}, the snapshot {expected}",
                code=f"axis.{axis.value}",
                hint="the query model is not the one that made this snapshot",
            )
        length = float(np.linalg.norm(query.astype(np.float64)))
        if not np.isfinite(length) or length == 0:
            raise QueryError(f"{axis}: the query vector is zero or not finite")
        return (query / length).astype(np.float32)

    def _read(self, axis: Axis, where: pc.Expression, ids: OrderedIds) -> TenantMatrix:
        dim = self._ref.dims[axis]
        with lance_errors(f"cannot read {axis} of snapshot {self._ref.snapshot_id}"):
            batches = self._dataset.to_batches(columns=["asset_id", axis.value], filter=where)
            return assembled(ids, (_vectors_in(batch, axis, dim) for batch in batches), dim)


def _vectors_in(batch: pa.RecordBatch, axis: Axis, dim: int) -> tuple[list[str], Vector]:
    """The asset ids and vectors, float32 (n, dim), of the rows that have one."""
    there = batch.filter(pc.is_valid(batch[axis.value])) if batch[axis.value].null_count else batch
    return there["asset_id"].to_pylist(), there[axis.value].flatten().to_numpy().reshape(-1, dim)
